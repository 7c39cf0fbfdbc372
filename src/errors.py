"""The one exception that a user can cause. Every module raises it; `stages.run` prints it as one line."""


class UserError(Exception):
    """A setting, file or network that a person has to change; the message is one line that says what to do."""


class DivergedError(UserError):
    """A training whose loss is no longer a number. `tune` goes on with the next trial."""
