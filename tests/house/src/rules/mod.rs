//! One rule a module: from the workspace to what breaks it.

pub mod arrows;
pub mod circles;
pub mod dependencies;
pub mod forbidden;
pub mod layers;
pub mod length;
pub mod offered;
pub mod prose;
