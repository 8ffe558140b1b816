from metier.progress import listening, task, track


class Recorder:
    def __init__(self):
        self.told = []

    def start(self, description, total, unit):
        self.told.append(("start", description, total, unit))
        return len(self.told)

    def advance(self, number, amount, numbers):
        self.told.append(("advance", number, amount, numbers))

    def finish(self, number):
        self.told.append(("finish", number))


def test_loops_report_to_who_listens():
    recorder = Recorder()
    with listening(recorder):
        assert list(track([7, 8], "counting", unit="step")) == [7, 8]
        with task("training", total=3) as progress:
            progress.advance(2, loss=0.5)
    assert recorder.told == [
        ("start", "counting", 2, "step"),
        ("advance", 1, 1, {}),
        ("advance", 1, 1, {}),
        ("finish", 1),
        ("start", "training", 3, "item"),
        ("advance", 5, 2, {"loss": 0.5}),
        ("finish", 5),
    ]


def test_a_loop_that_fails_is_finished_and_nobody_listening_is_fine():
    recorder = Recorder()
    try:
        with listening(recorder):
            for _ in track([1, 2], "failing"):
                raise ValueError
    except ValueError:
        pass
    assert list(track(iter([1]), "alone")) == [1]
    assert recorder.told[-1][0] in ("start", "finish")
