"""The configuration files and their checks."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import resources

import pytest

from vaclip.cohort.synthetic_gait import TRUTHS, GaitCohort
from vaclip.compose import arm_file, compose_settings
from vaclip.config import (
    ArmAbout,
    Config,
    DataConfig,
    ModelConfig,
    RolesConfig,
    StudyConfig,
    StudyRunConfig,
    all_keys,
    check_config,
)
from vaclip.data.transforms import Augmentation
from vaclip.errors import VaclipError
from vaclip.maps import CONTROLS
from vaclip.models import VideoAttentionCLIP
from vaclip.runs import prepare
from vaclip.runs.prepare import study_folder
from vaclip.runs.run import OF_TRAINING
from vaclip.settings import flat_settings
from vaclip.training.module import Optimisation

CONF = resources.files("vaclip.conf")


def stems(group):
    return sorted(f.name.removesuffix(".yaml") for f in (CONF / group).iterdir())


EXPERIMENTS = stems("experiment")


def configure(*overrides) -> Config:
    """What `vaclip train` makes of its command line."""
    return compose_settings(overrides)


def message_of(*overrides) -> str:
    with pytest.raises(VaclipError) as caught:
        configure(*overrides)
    return str(caught.value)


# --- shipped files -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_composes_and_names_itself(name):
    config = configure(f"experiment={name}")
    assert config.arm == name
    arguments = dataclasses.asdict(config.model) | {"model_class_num": 3}
    for name_of_training in OF_TRAINING:
        del arguments[name_of_training]
    model = VideoAttentionCLIP(**arguments)
    assert model.video_encoder.gives_tokens or not config.model.lambda_token


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_is_and_what_it_differs_in(name):
    stated = flat_settings(arm_file(name))
    usual = flat_settings(dataclasses.asdict(Config()))
    for key, value in stated.items():
        assert value != usual[key], f"{key} is the default"
    assert {f"about.{word}" for word in ("method", "question", "cost")} <= set(stated)
    assert configure(f"experiment={name}").about == ArmAbout(**arm_file(name)["about"])


# What an arm differs in, from the table of arms: the terms are (token, CLIP, map).
FULL = (True, "spatiotemporal", False, False, "given", (0.0, 1.0, 0.0))
PLAIN = (False, None, None, False)
POOLED = (True, "weighted_pool", False, True)
ARMS = {
    "B0": (*PLAIN, "given", (0.0, 0.0, 0.0)),
    "B1": (*PLAIN, "given", (0.0, 1.0, 0.0)),
    "B2": (*FULL[:5], (0.0, 0.0, 0.0)),
    "B3": FULL,
    "B4": (*FULL[:5], (0.1, 1.0, 0.0)),
    "C1": (True, "channel", *FULL[2:]),
    "C2": (True, "weighted_pool", *FULL[2:]),
    "C3_linear": FULL,
    "C3_sigmoid": (True, "spatiotemporal", True, *FULL[3:]),
    **{
        f"K_{name}": FULL
        for name in (*CONTROLS, "withheld", "swapped", "permuted")
        if name != "prior"
    },
    "K_map_only": (*PLAIN, "given", (0.0, 0.0, 0.0)),
    "P0": (*PLAIN, "predicted", (0.0, 0.0, 1.0)),
    "P1": (*POOLED, "predicted", (0.0, 0.0, 0.0)),
    "P2": (*POOLED, "predicted", (0.0, 0.0, 1.0)),
    "P3": (*POOLED, "predicted", (0.0, 0.0, 1.0)),
    "P_shuffled": (*POOLED, "predicted", (0.0, 0.0, 1.0)),
    "P_prior": (*POOLED, "given", (0.0, 0.0, 0.0)),
}


def test_no_arm_lacks_its_switches():
    assert sorted(ARMS) == EXPERIMENTS


@pytest.mark.parametrize("name", sorted(ARMS))
def test_an_arm_switches_what_its_name_says(name):
    config = configure(f"experiment={name}")
    model = config.model
    guidance = (model.map_guided_type, model.map_guided_sigmoid_gate)
    switches = (
        model.map_guided,
        *(guidance if model.map_guided else (None, None)),
        model.map_guided_global,
        model.map_source,
        (model.lambda_token, config.loss.clip_weight, model.lambda_map),
    )
    assert switches == ARMS[name]
    assert (model.clip_classifier_source == "attn") == (name == "K_map_only")
    drawn = name[2:] if name[:2] in ("K_", "P_") and name[2:] in CONTROLS else None
    assert config.data.control == drawn
    tested = {"K_withheld": "uniform", "K_swapped": "shuffled"}
    assert config.data.test_control == tested.get(name)
    assert config.data.permute_labels == (name == "K_permuted")
    assert config.model.lambda_distill == (name == "P3")


@pytest.mark.parametrize("override", [f"debug={d}" for d in stems("debug")] + ["data=folder"])
def test_the_other_groups_compose(override):
    more = ["data.root=somewhere"] if override == "data=folder" else []
    assert isinstance(configure(override, *more), Config)


def test_the_files_and_the_classes_have_the_same_defaults():
    assert configure() == Config()
    composed = compose_settings(name="study")
    assert isinstance(composed, StudyRunConfig)
    assert composed.study == StudyConfig()
    composed.study = StudyConfig(arms=["B0"])
    assert StudyRunConfig().study.arms != composed.study.arms


def test_settings_are_built_in_python_and_checked():
    config = Config(data=DataConfig(frames=8), seed=1)
    check_config(config)
    assert (config.data.frames, config.data.stride) == (8, 16)
    with pytest.raises(VaclipError, match=r"data\.frames is 0; it must be above 0"):
        check_config(Config(data=DataConfig(frames=0)))


def test_no_two_configurations_share_a_list():
    Config().data.size.append(3)
    RolesConfig().pairs[0].append("C1")
    assert Config().data.size == [96, 96]
    assert RolesConfig().pairs[0] == ["B3", "B1"]


@pytest.mark.parametrize("preset", ["quick", "smoke"])
def test_a_preset_is_the_same_for_a_run_and_for_a_study(preset):
    run = flat_settings(dataclasses.asdict(configure(f"debug={preset}")))
    study = flat_settings(dataclasses.asdict(compose_settings([f"study={preset}"], "study")))
    apart = {key for key, value in run.items() if study[key] != value}
    assert apart == {"trainer.enable_progress_bar", "log.examples"}


@pytest.mark.parametrize(
    ("schema", "target", "apart"),
    [
        ("model", VideoAttentionCLIP, {*OF_TRAINING, "backbone_options"}),
        ("data.augment", Augmentation, {"enabled"}),
        ("optim", Optimisation, {"patience", "pretrained_rate"}),
    ],
)
def test_settings_are_the_arguments_of_what_they_build(schema, target, apart):
    names = {k.removeprefix(f"{schema}.") for k in all_keys() if k.startswith(f"{schema}.")}
    assert names ^ apart == set(inspect.signature(target).parameters)


def test_the_model_keys_have_the_defaults_of_the_design():
    model = configure().model
    assert (model.clip_feature_dim, model.clip_embed_dim, model.attn_in_channels) == (512, 256, 1)
    assert model.clip_backbone == "3dcnn"
    assert model.model_class_num is None


def test_the_loss_has_the_defaults_that_are_documented():
    loss = configure().loss
    assert (loss.clip_positives, loss.clip_loss) == ("paired", "softmax")
    assert (loss.mask_same_patient, loss.learn_temperature) == (True, True)
    assert loss.clip_temperature == 0.07
    assert loss.grad_cache_chunk is None


def test_the_synthetic_settings_are_parameters_of_the_cohort():
    names = {k.rpartition(".")[2] for k in all_keys() if k.startswith("data.synthetic.")}
    assert names <= {field.name for field in dataclasses.fields(GaitCohort)}


@pytest.mark.parametrize("truth", TRUTHS)
def test_every_truth_can_be_asked_for(truth, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(prepare, "cohort_folder", lambda cohort, *_: asked.append(cohort.truth))
    study_folder(configure(f"data.synthetic.truth={truth}").data, tmp_path)
    assert asked == [truth]  # null too, which YAML reads as nothing


def test_all_keys():
    keys = set(all_keys())
    assert {"arm", "model.clip_backbone", "data.synthetic.patients"} <= keys
    assert {f"model.{field.name}" for field in dataclasses.fields(ModelConfig)} <= keys
    assert not {"model", "study.arms"} & keys
    assert "study.noise.blur" in all_keys(StudyRunConfig)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("data.frame", "data.frames"),
        ("optim.learning_rate", None),
        ("model.clip_backbon", "model.clip_backbone"),
        ("data.synthetic.patient", "data.synthetic.patients"),
        ("sed", "seed"),
    ],
)
@pytest.mark.parametrize("plus", ["", "+"])
def test_an_unknown_key(wrong, right, plus):
    message = message_of(f"{plus}{wrong}=3")
    assert f"unknown setting '{wrong}'" in message
    if right:
        assert f"Did you mean '{right}'?" in message


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.frames=many", "data.frames"),
        ("data.size=[a,b]", "data.size"),
        ("loss.clip_chunk=some", "loss.clip_chunk"),
        ("loss.mask_same_patient=often", "loss.mask_same_patient"),
    ],
)
def test_a_value_of_the_wrong_type(override, key):
    message = message_of(override)
    assert override.partition("=")[2].strip("[]").split(",")[0] in message
    assert key in message


@pytest.mark.parametrize("override", ["experiment=B9", "data=foldr"])
def test_an_unknown_choice_of_a_group_lists_what_there_is(override):
    group = override.partition("=")[0]
    message = message_of(override)
    assert all(name in message for name in stems(group) if not name.startswith("_"))


def test_a_missing_value():
    assert "data.frames" in message_of("data.frames=???")


POSITIVE = """
data.frames data.fps data.stride data.batch_size data.keypoint_sigma model.clip_feature_dim
model.clip_embed_dim model.backbone_width model.map_guided_hidden_dim loss.clip_temperature
loss.soft_map_temperature loss.clip_chunk loss.grad_cache_chunk optim.lr trainer.max_epochs
features.every features.width features.limit_gb optim.patience model.map_temperature
model.distill_temperature
""".split()
NOT_NEGATIVE = """
model.lambda_token model.lambda_map model.lambda_map_cc model.map_dropout loss.clip_weight
optim.weight_decay data.num_workers features.noise features.jitter model.lambda_distill
""".split()
BROKEN = [
    *[f"{key}=0" for key in POSITIVE],
    *[f"{key}=-1" for key in POSITIVE + NOT_NEGATIVE],
    "data.size=[96]",
    "data.size=[96,96,3]",
    "data.size=[15,96]",
    "data.size=[]",
    "features.grid=[0,4]",
    "features.grid=[4]",
    "features.dropout=1",
    "loss.label_smoothing=1",
    "loss.class_weight=rare",
    "data.augment.crop=0",
    "data.augment.crop=1.1",
    "optim.warmup_share=-0.1",
    "optim.warmup_share=1",
    "split.fold=-1",
    "split.fold=5",
    "split.fold=some",
    "split.fold=0.5",
    "optim.lr=nan",
    "data.fps=nan",
    "split.fold=true",  # a bool is an int, but no fold
    "optim.lr=inf",
    "loss.clip_weight=inf",
    "loss.clip_temperature=nan",
    "loss.clip_bias=nan",
    "loss.soft_map_temperature=inf",
    "data.augment.contrast=nan",
    "data.augment.brightness=-1",
    "data.combine=sum",
    "data.source=cloud",
    "trainer.precision=8",
    "trainer.limit_train_batches=some",
    "arm=a/b",
    "model.map_dropout=1.5",
    "model.map_crossfit=1",
    "model.distill_crossfit=1",
    "model.map_head=lasso",
]


@pytest.mark.parametrize("override", BROKEN)
def test_a_value_out_of_range_names_its_key(override):
    key, _, value = override.partition("=")
    message = message_of(override)
    assert message.lower().startswith(f"{key} is {value.replace(',', ', ')}")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["data=folder"], ["data.root"]),
        (
            ["trainer.sync_batchnorm=true", "loss.grad_cache_chunk=4"],
            ["trainer.sync_batchnorm", "loss.grad_cache_chunk"],
        ),
        (["backbone=lite0", "model.clip_backbone=3dcnn"], ["features.source", "lite0"]),
        (["features.every=2"], ["features.every=2", "model.clip_backbone=3dcnn"]),
        (["model.clip_backbone=features"], ["features.source", "backbone=lite0"]),
        (["backbone=lite0", "features.every=3"], ["features.every", "data.frames=16"]),
        (["backbone=lite0", "data.augment.crop=0.5"], ["data.augment.crop", "features.jitter"]),
        (["model.attn_in_channels=2"], ["model.attn_in_channels is 2", "data.combine=mean"]),
        (
            ["model.attn_in_channels=2", "data.combine=max"],
            ["model.attn_in_channels is 2", "data.combine=max"],
        ),
        (["model.lambda_map=1"], ["model.lambda_map=1.0", "map_source=given"]),
        (["model.map_temperature=0.5"], ["model.map_temperature=0.5", "map_source=given"]),
        (["model.map_dropout=0"], ["model.map_dropout=0.0", "map_source=given"]),
        (["model.map_crossfit=2"], ["model.map_crossfit=2", "map_source=given"]),
        (["experiment=P1", "model.map_crossfit=2"], ["map_crossfit=2", "needs model.lambda_map"]),
        (["experiment=P2", "model.map_crossfit=2", "loss.clip_weight=1"], ["loss.clip_weight=0"]),
        (["model.map_source=mixed"], ["map_source=mixed", "map_dropout=1"]),
        (
            ["model.map_source=predicted", "model.map_guided=false"],
            ["map_source=predicted", "map_guided=false", "lambda_map above 0"],
        ),
        (
            ["model.map_source=mixed", "model.map_guided=false", "model.lambda_map=1"],
            ["map_source=mixed", "map_guided=false"],
        ),
        (
            ["model.map_guided_global=true", "model.map_guided=false"],
            ["map_guided_global=true", "map_guided=false"],
        ),
        (["model.map_head=ridge"], ["map_head=ridge", "map_source=given"]),
        (
            ["experiment=P2", "backbone=lite0", "model.map_head=ridge", "features.finetune=1"],
            ["map_head=ridge", "features.finetune=0"],
        ),
        (["experiment=P2", "model.map_head=ridge"], ["backbone=lite0", "map_crossfit", "map=0"]),
        (["experiment=B3", "model.lambda_distill=1"], ["lambda_distill=1.0", "map_source=pred"]),
        (["experiment=K_map_only", "model.lambda_distill=1"], ["classifier_source=video"]),
        (["experiment=P2", "model.distill_crossfit=5"], ["distill_crossfit=5", "lambda_distill=0"]),
    ],
)
def test_fields_that_contradict_each_other_are_named(overrides, named):
    message = message_of(*overrides)
    assert all(part in message for part in named)


@pytest.mark.parametrize("wrong", ["trainer.foo", "data.synthetic.foo"])
def test_a_group_is_no_setting_to_suggest(wrong):
    assert f"Did you mean '{wrong.removesuffix('.foo')}'?" not in message_of(f"{wrong}=3")


@pytest.mark.parametrize(
    "overrides",
    [
        ["split.fold=all"],
        ["split.fold=4"],
        ["split.folds=7", "split.fold=6"],
        ["data.size=[16,40]"],
        ["data.augment.crop=1.0", "optim.warmup_share=0"],
        ["trainer.limit_train_batches=2", "split.train_fraction=1"],
        ["model.attn_in_channels=2", "data.combine=stack"],
        ["model.map_guided_sigmoid_gate=true", "model.map_guided_type=spatiotemporal"],
        ["loss.clip_weight=0", "optim.weight_decay=0", "data.num_workers=0"],
        ["loss.grad_cache_chunk=null", "loss.clip_bias=0"],
        ["loss.grad_cache_chunk=1", "loss.clip_bias=-20"],
        ["model.map_source=predicted", "model.map_temperature=0.5", "model.map_dropout=0.5"],
        ["model.map_source=mixed", "model.map_dropout=0", "model.lambda_map=1"],
        ["model.map_source=predicted", "model.map_guided=false", "model.lambda_map=1"],
        ["model.map_guided_global=true"],
        ["experiment=P2", "model.map_crossfit=3"],
        [
            "experiment=P2",
            "backbone=lite0",
            "model.map_head=ridge",
            "model.map_crossfit=5",
            "model.lambda_map=0",
        ],
        ["experiment=P3", "model.map_crossfit=3", "model.distill_crossfit=5"],
        ["experiment=B0", "model.lambda_distill=0.5", "model.distill_temperature=4"],
    ],
)
def test_what_is_allowed(overrides):
    assert isinstance(configure(*overrides), Config)
