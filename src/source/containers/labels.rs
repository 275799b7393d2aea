//! The labels of the containers: the closed sets of their values, and which have one bound together.

use crate::metric::label::closed_set;
use crate::metric::{Label, LabelSet};

closed_set! {
    /// The closed set of values of the label `key`: what found no room.
    LeftOut {
        /// A container or service (`inventory.limit`).
        Container = "container",
    }
}

closed_set! {
    /// The closed set of values of the label `part`: what is read in one way or another.
    SourcePart {
        /// What containers are called.
        Names = "names",
        /// Processes that were killed because memory was exhausted.
        Oom = "oom",
    }
}

closed_set! {
    /// The closed set of values of the label `via`: the way it is read.
    Via {
        /// Files of the control groups.
        Cgroup = "cgroup",
        /// Files of the engine.
        File = "file",
        /// Docker's socket.
        Socket = "socket",
    }
}

const MOST: &str =
    "`inventory.limit`, containers and services that ended less than `inventory.retention` ago included";

/// Who a container or service is.
pub static WHO: LabelSet = LabelSet::configured(
    &[
        Label::ContainerId,
        Label::ContainerName,
        Label::K8sContainerName,
        Label::K8sNamespaceName,
        Label::K8sPodName,
        Label::SystemdUnit,
    ],
    MOST,
);

/// Who it is, and what is known of it.
pub static INFO: LabelSet = LabelSet::configured(
    &[
        Label::Cgroup,
        Label::ContainerId,
        Label::ContainerImageName,
        Label::ContainerName,
        Label::ContainerRuntimeName,
        Label::K8sContainerName,
        Label::K8sNamespaceName,
        Label::K8sPodName,
        Label::SystemdUnit,
    ],
    MOST,
);

/// Who it is, as coroot-node-agent says it.
pub static CLASSIC: LabelSet =
    LabelSet::configured(&[Label::ClassicContainerId, Label::ClassicMachineId], MOST);

/// The agent itself, as coroot-node-agent says it.
pub static AGENT: LabelSet = LabelSet::fixed(&[Label::ClassicMachineId, Label::Version], 1);

/// What found no room.
pub static LEFT_OUT: LabelSet = LabelSet::fixed(&[Label::Key], LeftOut::ALL.len());

/// What is read, and how.
pub static SOURCE: LabelSet =
    LabelSet::fixed(&[Label::SourcePart, Label::Via], SourcePart::ALL.len() * Via::ALL.len());
