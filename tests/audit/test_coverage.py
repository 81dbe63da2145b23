from __future__ import annotations

from vaclip.audit.coverage import sparse_maps


def test_clips_with_a_map_on_few_samples():
    assert sparse_maps({}) == []
    assert sparse_maps({"a": 1.0, "b": 0.5}) == []
    (finding,) = sparse_maps({"a": 0.49, "b": 1.0, "c": 0.1})
    assert finding.what.startswith("in 2 of 3 annotated clips the annotations show on 10% to 49%")
    assert finding.clips == ("a", "c")
    assert finding.severity == "warning"
