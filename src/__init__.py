"""The library: pure pieces that the stages put together. It never reads params.yaml by itself."""
