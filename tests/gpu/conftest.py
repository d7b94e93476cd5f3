from tests.train.conftest import conversations, teacher_folder

__all__ = ["conversations", "teacher_folder"]
