//! The real file system and the real clocks.
