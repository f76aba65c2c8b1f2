/** A disk that is full: first that of the files, then that of the whole data folder with the database. */
import { execFile } from "node:child_process";
import { mkdir, open, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { newFolder } from "./support/host-process.ts";
import { reportHost, startScene } from "./support/scene.ts";
import { reportRecovery } from "./support/services.ts";

export const diskFull: Campaign = {
  name: "disk-full",
  title: "A full disk",
  unit: "times full, of each kind, 10 s each (short: 3 s)",
  rounds: { full: 5, short: 1 },
  run,
};

const execute = promisify(execFile);

interface Disk {
  name: string;
  /** Below the data folder. */
  folder: string;
  megabytes: number;
}

const disks: Disk[] = [
  { name: "files", folder: "storage", megabytes: 48 },
  { name: "database and files", folder: ".", megabytes: 400 },
];

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    report.skipped = "only root on Linux may mount a small disk.";
    return report;
  }
  // The short form fills the disk of the files alone: the other needs a start of its own.
  for (const disk of settings.short ? disks.slice(0, 1) : disks) await fill(disk, settings, report);
  return report;
}

async function fill(disk: Disk, settings: CampaignSettings, report: Report): Promise<void> {
  report.part = `Disk of ${disk.name}: `;
  const folder = await newFolder(settings);
  const mounted = path.join(folder, "data", disk.folder);
  await mkdir(mounted, { recursive: true });
  try {
    await execute("mount", ["-t", "tmpfs", "-o", `size=${disk.megabytes}m,mode=755`, "tmpfs", mounted]);
  } catch (error) {
    report.skipped = `a small disk cannot be mounted here: ${error instanceof Error ? error.message : String(error)}`;
    return;
  }
  settings.atEnd(() => execute("umount", [mounted]));
  const scene = await startScene(settings, { folder });
  const { host, load, probes } = scene;
  const filler = path.join(mounted, "filler");
  const recoveries = [];
  let refused = 0;
  load.start();
  probes.listen();
  for (let count = 1; count <= settings.rounds; count++) {
    await pause(2_000);
    const completion = await probes.startRun();
    const until = Date.now() + (settings.short ? 3_000 : 10_000);
    const before = load.answers.count(/ 5\d\d$/);
    while (Date.now() < until) {
      await writeUntilFull(filler);
      await pause(200);
    }
    refused += load.answers.count(/ 5\d\d$/) - before;
    await rm(filler, { force: true });
    const freedAt = performance.now();
    const recovery = await probes.recovery(() => freedAt, completion);
    recoveries.push(recovery);
    settings.say(`${disk.name}, time ${count} of ${settings.rounds}: ${refused} calls refused so far`);
    await scene.reviveIfStuck(recovery);
  }
  await load.stop();
  await host.settled();
  report.holds("The full disk was met", `${refused} calls refused`, refused > 0);
  // The server that has ended for want of space is started again at the next look, once a second.
  reportRecovery(report, recoveries, settings.short || disk.folder === "." ? 10_000 : 2_000);
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  if (!settings.short) await probes.checkWhole(report, 60, 2_000);
  await reportHost(host, report);
}

async function writeUntilFull(file: string): Promise<void> {
  const handle = await open(file, "a");
  try {
    const block = Buffer.alloc(256 * 1024);
    for (let size = block.length; size >= 4096;) {
      const { bytesWritten } = await handle.write(block, 0, size);
      if (bytesWritten < size) size = Math.floor(size / 2);
    }
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  } finally {
    await handle.close();
  }
}
