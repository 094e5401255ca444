//! What the system says about this process: memory and processor time.

/// Its memory that is not swapped out, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    kilobytes(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS:")
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The system's name, version and kind of machine.
pub(crate) fn system() -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {} {}", read("ostype").trim(), read("osrelease").trim(), std::env::consts::ARCH)
}

/// All the memory that the machine has.
pub(crate) fn machine_bytes() -> u64 {
    kilobytes(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:")
}

/// Processor time in seconds: system and user of the process, system and user of its children that have ended.
pub(crate) fn processor_seconds(of: &str) -> [f64; 4] {
    let stat = std::fs::read_to_string(format!("/proc/{of}/stat")).unwrap_or_default();
    // The fields after the name, which may contain anything.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    // In ticks of 10 ms.
    [12, 11, 14, 13].map(|index| {
        let ticks: f64 = fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(0.0);
        ticks / 100.0
    })
}
