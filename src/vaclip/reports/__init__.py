"""The page of an ablation: its tables, figures and cases from what `vaclip.evaluation` found."""
