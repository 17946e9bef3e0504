"""Every operator against TFLite Micro, bit for bit."""
