"""Turn log-mels into waves: Griffin-Lim, HiFi-GAN, or any vocoder as a TorchScript file (docs/vocoders.md)."""
