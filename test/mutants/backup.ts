import type { Mutant } from "./mutant.ts";

/** Backup and restore: an installation comes back whole, or not at all. */
export const mutants: Mutant[] = [
  {
    check: 41,
    breaks: "the payments of Stripe that were credited are not in the backup",
    file: "server/backup/backup.ts",
    line: `    for (const table of tables) {`,
    broken: `    for (const table of tables.filter(({ name }) => !/^(payments|stripe_events)$/.test(name))) {`,
    tests: "acceptance/backup",
    named: "a restore into a new folder answers as before",
  },
  {
    check: 69,
    breaks: "each table is read at a moment of its own",
    file: "server/backup/backup.ts",
    line: `begin isolation level repeatable read, read only`,
    broken: `begin isolation level read committed, read only`,
    tests: "server/backup",
    named: "a backup under many writers is one moment",
  },
  {
    check: 69,
    breaks: "a copy that fails ends without a word",
    file: "server/backup/format.ts",
    line: `  if (failures.length > 0) throw failures[0];`,
    broken: ``,
    tests: "server/backup",
    named: "a restore of a damaged backup fails",
  },
  {
    check: 69,
    breaks: "rows of a table are not compared with their checksum",
    file: "server/backup/restore.ts",
    line: `  format.assertIntact(file, data, checksum);`,
    broken: ``,
    tests: "server/backup",
    named: "a restore of a damaged backup fails",
  },
  {
    check: 69,
    breaks: "a host starts on a folder whose restore was killed",
    file: "server/host.ts",
    line: `    await refuseUnfinished(options.dataDirectory);`,
    broken: ``,
    tests: "server/backup",
    named: "a data folder whose restore was killed",
  },
];
