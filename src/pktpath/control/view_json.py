"""What a datapath tells of itself as JSON, and back: the answer of `pktpath/view`.

The keys are those of the values in `switch/views.py`. A flow's key and mask are words of hexadecimal digits, so that
every reader of JSON keeps their 1024 bits; an action is an object whose `type` is the name of its value.
"""

import json
from collections.abc import Sequence
from typing import Any

from pktpath.errors import BadInput
from pktpath.switch import actions as datapath
from pktpath.switch.actions import Action
from pktpath.switch.views import DatapathView, FlowView, PortView, QueueView, WorkerView

VERSION = 1
"""Of the form; grows when a key goes or changes its meaning."""
_ACTIONS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (datapath.Output, datapath.PushVlan, datapath.PopVlan, datapath.Set, datapath.Meter, datapath.Controller)
}


def view_document(view: DatapathView, flows: Sequence[FlowView] | None = None) -> dict[str, Any]:
    """Return a datapath, and its megaflows where they are wanted, as an object for `json`."""
    ports = [{**port._asdict(), "options": dict(port.options), "counters": dict(port.counters)} for port in view.ports]
    workers = [
        {**worker._asdict(), "queues": [queue._asdict() for queue in worker.queues], "counters": dict(worker.counters)}
        for worker in view.workers
    ]
    document: dict[str, Any] = {"version": VERSION, "datapath": {**view._asdict(), "ports": ports, "workers": workers}}
    if flows is not None:
        document["flow_list"] = [flow_document(flow) for flow in flows]
    return document


def flow_document(flow: FlowView) -> dict[str, Any]:
    """Return a megaflow as an object for `json`."""
    actions = [_action_document(action) for action in flow.actions]
    return {**flow._asdict(), "key": f"{flow.key:x}", "mask": f"{flow.mask:x}", "actions": actions}


def _names(action: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = type(action).__match_args__
    return names


def _action_document(action: Action) -> dict[str, Any]:
    found = {name: getattr(action, name) for name in _names(action)}
    fields = {name: f"{value:x}" if name in {"value", "mask"} else value for name, value in found.items()}
    return {"type": type(action).__name__, **fields}


def view_json(view: DatapathView, flows: Sequence[FlowView] | None = None) -> str:
    """Return the answer of `pktpath/view`: one line of JSON."""
    return json.dumps(view_document(view, flows), separators=(",", ":"))


def read_view(text: str) -> tuple[DatapathView, tuple[FlowView, ...]]:
    """Return the datapath and the megaflows (none where it has none) of such an answer.

    Raises:
        BadInput: it is none.

    """
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            message = f"a view of version {document['version']}, this program reads {VERSION}"
            raise BadInput(message)
        datapath_ = document["datapath"]
        ports = tuple(PortView(**port) for port in datapath_["ports"])
        workers = tuple(
            WorkerView(**{**worker, "queues": tuple(QueueView(**queue) for queue in worker["queues"])})
            for worker in datapath_["workers"]
        )
        view = DatapathView(**{**datapath_, "ports": ports, "workers": workers})
        return view, tuple(_read_flow(flow) for flow in document.get("flow_list", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"no view of a datapath: {type(error).__name__}: {error}"
        raise BadInput(message) from None


def _read_flow(flow: dict[str, Any]) -> FlowView:
    actions = tuple(_read_action(action) for action in flow["actions"])
    return FlowView(**{**flow, "key": int(flow["key"], 16), "mask": int(flow["mask"], 16), "actions": actions})


def _read_action(action: dict[str, Any]) -> Action:
    fields = {name: int(value, 16) if name in {"value", "mask"} else value for name, value in action.items() if name != "type"}
    made: Action = _ACTIONS[action["type"]](**fields)
    return made
