/** A database that says nothing any more while its connections stand: callers are answered all the same. */
import { setTimeout as pause } from "node:timers/promises";
import { type Campaign, type CampaignSettings, Report } from "./support/campaign.ts";
import { checkAnswers, checkPromises } from "./support/checker.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { newFolder, startDatabase } from "./support/host-process.ts";
import { reportHost, startScene } from "./support/scene.ts";
import { reportRecovery } from "./support/services.ts";

export const silence: Campaign = {
  name: "silence",
  title: "A silent database",
  unit: "silences of 100 s (short: of 5 s)",
  rounds: { full: 2, short: 1 },
  run,
};

async function run(settings: CampaignSettings): Promise<Report> {
  const report = new Report();
  const folder = await newFolder(settings);
  const database = await startDatabase(folder, settings);
  const proxy = await FaultProxy.start(database.url, settings);
  const scene = await startScene(settings, {
    folder,
    environment: { DATABASE_URL: proxy.url },
    databaseUrl: database.url,
  });
  const { host, load, probes } = scene;
  const recoveries = [];
  load.start();
  probes.listen();
  for (let count = 1; count <= settings.rounds; count++) {
    await pause(2_000);
    const completion = await probes.startRun();
    proxy.beSilent();
    await pause(settings.short ? 5_000 : 100_000);
    proxy.endSilence();
    const endedAt = performance.now();
    const recovery = await probes.recovery(() => endedAt, completion);
    recoveries.push(recovery);
    const { answers } = load;
    settings.say(`silence ${count} of ${settings.rounds}: ${answers.late} calls without an answer so far`);
    await scene.reviveIfStuck(recovery);
  }
  await load.stop();
  await host.settled();
  // After a short silence, calls may still wait for the deadline of their statement.
  reportRecovery(report, recoveries, settings.short ? 35_000 : 2_000);
  await checkPromises(load, report, await load.drain());
  checkAnswers(load, report);
  if (!settings.short) await probes.checkWhole(report, 60, 2_000);
  await reportHost(host, report);
  return report;
}
