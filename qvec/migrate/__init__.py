"""Moving data that is there already: tables made searchable in place, and copies from store to store."""

from qvec.migrate.copy_job import CopyJob, CopyPlan, CopyProgress, CopyReport
from qvec.migrate.copying import copy, copy_errors, plan_copy, undo_copy
from qvec.migrate.errors import MigrationError, VerificationError
from qvec.migrate.fields import FieldMap
from qvec.migrate.index_attach import IndexJob, attach_index, detach_index, layout_of, plan_attach_index
from qvec.migrate.jobs import Attached, plan_undo, undo, verify
from qvec.migrate.pg_attach import AttachJob, attach, plan_attach
from qvec.migrate.pg_backfill import AttachReport
from qvec.migrate.pg_detach import detach, plan_detach
from qvec.migrate.pg_sync import SyncReport, follow, sync, sync_status
from qvec.migrate.planning import Plan, plan
from qvec.migrate.storage import Storage
from qvec.migrate.swap_job import SwapJob
from qvec.migrate.swapping import SwapReport, end_swap, plan_swap, roll_back, swap
from qvec.migrate.verifying import Difference, VerifyReport

__all__ = [
    "AttachJob",
    "AttachReport",
    "Attached",
    "CopyJob",
    "CopyPlan",
    "CopyProgress",
    "CopyReport",
    "Difference",
    "FieldMap",
    "IndexJob",
    "MigrationError",
    "Plan",
    "Storage",
    "SwapJob",
    "SwapReport",
    "SyncReport",
    "VerificationError",
    "VerifyReport",
    "attach",
    "attach_index",
    "copy",
    "copy_errors",
    "detach",
    "detach_index",
    "end_swap",
    "follow",
    "layout_of",
    "plan",
    "plan_attach",
    "plan_attach_index",
    "plan_copy",
    "plan_detach",
    "plan_swap",
    "plan_undo",
    "roll_back",
    "swap",
    "sync",
    "sync_status",
    "undo",
    "undo_copy",
    "verify",
]
