"""A rater who takes a session of a study in a browser: by keys or by touch, and who remembers what was chosen."""

KEYS = {
    "pair": [("1", "left"), ("ARROW_RIGHT", "right"), ("3", "tie"), ("ARROW_LEFT", "left"), ("ARROW_DOWN", "tie")],
    "real": [("2", "fake"), ("1", "real"), ("ARROW_RIGHT", "fake"), ("ARROW_LEFT", "real")],
}
ORDERS = ([1, 0, 2], [2, 1, 0], [0, 2, 1])
OPEN = """const main = document.querySelector('#stage button.main');
return document.body.dataset.screen == 'task' && document.getElementById('count').textContent == arguments[0] &&
  !document.getElementById('feedback').textContent && !main.hasAttribute('aria-disabled')"""
SCREEN = "return document.body.dataset.screen == arguments[0]"
HEADING = "return document.querySelector('#stage h2')?.textContent == arguments[0]"


class Rater:
    """Takes the trials of a session of the plan, in order; `chosen` is what they confirmed."""

    def __init__(self, browser, trials, *, touches=False, look=lambda name: None):
        self.browser, self.trials, self.touches, self.look = browser, trials, touches, look
        self.chosen = []

    def agree(self):
        self.browser.wait(SCREEN, "consent")
        self.look("consent")
        self.go()
        self.browser.wait(SCREEN, "introduction")
        self.look("introduction")
        self.go()

    def go(self):
        """The main button of the screen."""
        if self.touches:
            self.browser.touch("button.main:not([hidden])")
        else:
            self.browser.press("ENTER")

    def take(self, count=None, before_confirming=lambda: None):
        """The next `count` tasks, or all that are left."""
        for trial in self.trials[len(self.chosen) :][:count]:
            self.wait_for(trial)
            choice = self.choose(trial)
            before_confirming()
            self.look(f"{'practice' * trial['practice'] or 'task'} {trial['kind']}")
            self.confirm(trial, choice)

    def confirm(self, trial, choice):
        self.go()
        self.chosen.append(choice)
        if trial["practice"]:
            self.browser.wait("return document.getElementById('feedback')?.textContent")
            self.look(f"feedback {trial['kind']}")
            self.go()
            if len(self.chosen) == sum(one["practice"] for one in self.trials):
                self.browser.wait(HEADING, "That was the practice")
                self.look("practice over")
                self.go()

    def wait_for(self, trial):
        """Until the task of this trial may be answered."""
        same = [one for one in self.trials if one["practice"] == trial["practice"]]
        number = f"{same.index(trial) + 1} of {len(same)}"
        self.browser.wait(OPEN, f"Practice {number}" if trial["practice"] else number)

    def choose(self, trial):
        if trial["kind"] == "rank":
            order = ORDERS[len(self.chosen) % len(ORDERS)]
            for place in order:
                self.touch_or_press("button.option", place, str(place + 1))
            return order
        key, choice = KEYS[trial["kind"]][len(self.chosen) % len(KEYS[trial["kind"]])]
        self.touch_or_press(f"label:has(input[value={choice}])", 0, key)
        return choice

    def touch_or_press(self, selector, number, key):
        if self.touches:
            self.browser.touch(selector, number)
        else:
            self.browser.press(key)
