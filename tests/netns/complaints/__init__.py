"""What ails a director as somebody makes it, for `doctor`. A later one is one entry more."""

from tests.netns.complaints.base import RESTORED, SYSCTLS, WEB, Complaint
from tests.netns.complaints.director import DIRECTOR
from tests.netns.complaints.modules import MODULES
from tests.netns.complaints.others import OTHERS

__all__ = ["COMPLAINTS", "RESTORED", "SYSCTLS", "WEB", "Complaint"]
COMPLAINTS = [*DIRECTOR, *OTHERS, *MODULES]
