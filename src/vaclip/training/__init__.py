"""The one LightningModule, and what makes a step fast."""
