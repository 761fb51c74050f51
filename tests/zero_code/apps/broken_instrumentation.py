"""An instrumentor that breaks."""


class Broken:
    def instrument(self, **kwargs):
        raise RuntimeError("broken")
