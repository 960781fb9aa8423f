//! `strftime` for templates that print the date, in UTC: no time-zone data is needed for a day's name.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `time` in the given format; directives that are not known are kept as written.
pub(super) fn format(time: SystemTime, format: &str) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, in_day) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    let (year, month, day) = civil(days);
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[((days + 4) % 7) as usize]);
    let hour_12 = (hour + 11) % 12 + 1;
    let day_of_year = days - days_of(year, 1, 1) + 1;
    let half = if hour < 12 { "AM" } else { "PM" };

    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        // glibc's `%-d` leaves out the leading zero.
        let unpadded = directive == Some('-');
        if unpadded {
            directive = chars.next();
        }
        let width = if unpadded { 1 } else { 2 };
        let mut number = |value: u64, width: usize| write!(out, "{value:0width$}");
        let written = match directive {
            Some('Y') => number(year, 1),
            Some('y') => number(year % 100, width),
            Some('m') => number(month, width),
            Some('d') => number(day, width),
            Some('H') => number(hour, width),
            Some('I') => number(hour_12, width),
            Some('M') => number(minute, width),
            Some('S') => number(second, width),
            Some('j') => number(day_of_year, if unpadded { 1 } else { 3 }),
            Some('B') => write!(out, "{month_name}"),
            Some('b' | 'h') => write!(out, "{}", &month_name[..3]),
            Some('A') => write!(out, "{day_name}"),
            Some('a') => write!(out, "{}", &day_name[..3]),
            Some('p') => write!(out, "{half}"),
            Some('F') => write!(out, "{year}-{month:02}-{day:02}"),
            Some('T') => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            Some('Z') => write!(out, "UTC"),
            Some('z') => write!(out, "+0000"),
            Some('%') => write!(out, "%"),
            Some(other) => write!(out, "%{other}"),
            None => write!(out, "%"),
        };
        written.expect("a string should take more text");
    }
    out
}

/// Year, month and day of the day number `days` since 1 January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let mut year = 1970 + days / 366;
    while days_of(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_of(year, *month, 1) <= days).unwrap_or(1);
    (year, month, days - days_of(year, month, 1) + 1)
}

/// Days from 1 January 1970 to a date of the Gregorian calendar.
fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let before = year - 1;
    let leap_days = |years: u64| years / 4 - years / 100 + years / 400;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let month_lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_year: u64 = month_lengths[..month as usize - 1].iter().sum();
    (year - 1970) * 365 + leap_days(before) - leap_days(1969) + in_year + day - 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From GNU date, UTC.
        let cases = [
            (0, "Thursday 01 January 1970 00:00:00 001"),
            (951_782_399, "Monday 28 February 2000 23:59:59 059"),
            (951_782_400, "Tuesday 29 February 2000 00:00:00 060"),
            (1_735_689_599, "Tuesday 31 December 2024 23:59:59 366"),
            (4_107_542_400, "Monday 01 March 2100 00:00:00 060"),
        ];
        for (seconds, expected) in cases {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(format(time, "%A %d %B %Y %T %j"), expected);
        }
        let noon = UNIX_EPOCH + Duration::from_secs(1_720_267_800);
        assert_eq!(format(noon, "%-d %b %y, %I:%M %p %% %Q %-m%"), "6 Jul 24, 12:10 PM % %Q 7%");
    }
}
