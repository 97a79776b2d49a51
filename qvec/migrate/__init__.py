"""Moving data that is there already: tables made searchable in place, and copies from store to store."""

from qvec.migrate.copying import CopyJob, CopyPlan, CopyProgress, CopyReport, copy, copy_errors, plan_copy, undo_copy
from qvec.migrate.errors import MigrationError, VerificationError
from qvec.migrate.fields import FieldMap
from qvec.migrate.planning import Plan, Storage, plan

__all__ = [
    "CopyJob",
    "CopyPlan",
    "CopyProgress",
    "CopyReport",
    "FieldMap",
    "MigrationError",
    "Plan",
    "Storage",
    "VerificationError",
    "copy",
    "copy_errors",
    "plan",
    "plan_copy",
    "undo_copy",
]
