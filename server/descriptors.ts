import type { Logger } from "pino";

/** Below it, the host, its pools and its files do not fit. */
const leastDescriptors = 256;
/** 10,000 requests that wait, sockets of browsers, files and connections of the database. */
const wantedDescriptors = 12_000;

/** How many files and connections the system lets this process have open; undefined when that is not limited or known. */
export function descriptorLimit(): number | undefined {
  // Where networks are looked up, a report takes seconds.
  (process.report as { excludeNetwork?: boolean }).excludeNetwork = true;
  const report = process.report.getReport() as unknown as {
    userLimits?: { open_files?: { soft: number | "unlimited" } };
  };
  const soft = report.userLimits?.open_files?.soft;
  return typeof soft === "number" ? soft : undefined;
}

/** Each connection takes a descriptor. Without one, the system resets new connections and nothing is logged. */
export function checkDescriptorLimit(log: Logger, limit = descriptorLimit()): void {
  if (limit === undefined || limit >= wantedDescriptors) return;
  const how =
    "Raise it: `ulimit -n 65536` before the start, `LimitNOFILE=65536` for systemd, `--ulimit nofile=65536` for Docker.";
  if (limit < leastDescriptors) {
    throw new Error(
      `The limit on open files (ulimit -n) is ${limit}; Darkroom needs ${leastDescriptors} at least. ${how}`,
    );
  }
  log.warn(
    { limit, wanted: wantedDescriptors },
    `the limit on open files (ulimit -n) is low: at most about ${limit - 100} connections fit. ${how}`,
  );
}
