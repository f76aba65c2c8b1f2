/** Connections between host and database that the network resets, also between COMMIT and its answer. */
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { type HostProcess, newFolder, startDatabase } from "./support/host-process.ts";
import { reportHost, startScene } from "./support/scene.ts";
import { FileReplacer } from "./support/file-replacer.ts";
import { checkContents } from "./support/stored-files.ts";

export const resets: Campaign = {
  name: "resets",
  title: "Resets between host and database",
  unit: "storms of four kinds, 10 s each",
  rounds: { full: 8, short: 1 },
  run,
};

type Storm = (proxy: FaultProxy, host: HostProcess) => Promise<void>;

/** Each lasts for its number of resets, with a pause between two. */
function storm(times: number, milliseconds: number, reset: (proxy: FaultProxy) => void): Storm {
  return async (proxy, host) => {
    for (let count = 0; count < times; count++) {
      // One that has ended is let start: it is the serving host that must outlive the network.
      if (host.isUp) reset(proxy);
      await pause(milliseconds);
    }
  };
}

const storms: Record<string, Storm> = {
  "those older than 400 ms, 29 times in 10 s": storm(29, 345, (proxy) => proxy.resetOlderThan(400)),
  "one in ten, 100 times in 10 s": storm(100, 100, (proxy) => proxy.resetSome(0.1)),
  "all, 10 times in 10 s": storm(10, 1_000, (proxy) => proxy.resetAll()),
  "one commit in ten is cut, for 10 s": async (proxy) => {
    proxy.commitCutShare = 0.1;
    await pause(10_000);
    proxy.commitCutShare = 0;
  },
};

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const folder = await newFolder(settings);
  const database = await startDatabase(folder, settings);
  const proxy = await FaultProxy.start(database.url, settings);
  const { host, load, probes } = await startScene(settings, {
    folder,
    environment: { DATABASE_URL: proxy.url },
    databaseUrl: database.url,
  });
  const replacer = await FileReplacer.create(load);
  settings.atEnd(async () => {
    await replacer.stop();
    replacer.close();
  });
  load.start();
  replacer.start();
  const rows: (string | number)[][] = [];
  for (let count = 1; count <= settings.rounds; count++) {
    // In the short form the first and the last kind; in the full one all, and all again.
    for (const [name, rage] of Object.entries(storms)) {
      if (settings.short && !/^(those|one commit)/.test(name)) continue;
      const [resetsBefore, cutsBefore] = [proxy.resets, proxy.commitCuts];
      await rage(proxy, host);
      await host.settled();
      const [resetsNow, cutsNow] = [proxy.resets - resetsBefore, proxy.commitCuts - cutsBefore];
      rows.push([name, resetsNow, cutsNow, host.unexpectedExits.length]);
      settings.say(`storm ${count} of ${settings.rounds}, ${name}: ${resetsNow} resets, ${cutsNow} cuts`);
    }
  }
  // From here on the network is perfect.
  await pause(2_000);
  await Promise.all([load.stop(), replacer.stop()]);
  await host.settled();
  report.table("Storms", ["resets of", "resets", "commits cut", "exits of the host so far"], rows);
  probes.listen();
  await probes.checkWhole(report, settings.short ? 20 : 60, settings.short ? 10_000 : 2_000);
  await checkPromises(load, report, await load.drain());
  await checkContents(host, load, replacer, report);
  checkAnswers(load, report);
  await reportHost(host, report);
  return report;
}
