//! Searches schedules per device and keeps records.
