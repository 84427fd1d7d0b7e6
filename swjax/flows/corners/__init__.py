"""Kinks of a loss that attract its gradient flow, and the corners where several of them meet.

A step of the flow whose end drives it back (`is_driven_back`) goes on along the kinks that it meets
(`follow_kinks`): `search` finds them, `bundle` keeps the velocities of the pieces that meet there,
`nearest` the shortest velocity of their hull, with which the flow `u' in -dF(u)` goes on.
"""

from swjax.flows.corners.follow import follow_kinks as follow_kinks
from swjax.flows.corners.follow import is_driven_back as is_driven_back
from swjax.flows.corners.follow import no_passage as no_passage
