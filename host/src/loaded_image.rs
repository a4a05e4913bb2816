//! The claim of loaded code to what the node has few of.

use corundum_exchange::Reservation;

/// The file and the kernel mappings of a loaded image, or of a compiled extension.
pub(crate) struct LoadedImage {
    _file: Reservation,
    _mappings: Reservation,
}

impl LoadedImage {
    /// Keeps the reservations of a file and of its mappings.
    pub(crate) fn new(file: Reservation, mappings: Reservation) -> Self {
        Self {
            _file: file,
            _mappings: mappings,
        }
    }
}
