"""Recipes: read, overridden, expanded over their axes, validated."""

from harness.recipe.faults import Fault, RecipeError
from harness.recipe.load import Cell, Recipe, load
from harness.recipe.schema import CellRecipe, MadeModel, TeacherSettings

__all__ = ["Cell", "CellRecipe", "Fault", "MadeModel", "Recipe", "RecipeError", "TeacherSettings", "load"]
