import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { campaigns } from "./registry.ts";
import { checkPromises } from "./support/checker.ts";
import { type Campaign, Report } from "./support/campaign.ts";
import { withSession } from "./support/database.ts";
import { makeTemplate } from "./support/host-process.ts";
import { runCampaign } from "./support/run-campaign.ts";
import { startScene } from "./support/scene.ts";

const options = { seed: 1, short: true, say: () => undefined };

// Most of a campaign is waiting: for a process that starts, for a lease, for a deadline.
describe("fault campaigns, in short", { concurrency: 4 }, () => {
  const closers: (() => Promise<unknown>)[] = [];
  let template: string;
  before(async () => {
    const atEnd = (close: () => Promise<unknown>) => void closers.push(close);
    template = await makeTemplate({ ...options, rounds: 0, atEnd });
  });
  after(async () => {
    for (let close = closers.pop(); close; close = closers.pop()) await close();
  });

  // The one that waits longest begins first.
  const slowest = ["silence", "kill-host", "two-hosts", "restore"];
  const place = ({ name }: Campaign) => (slowest.includes(name) ? slowest.indexOf(name) : slowest.length);
  for (const campaign of campaigns.toSorted((a, b) => place(a) - place(b))) {
    test(`${campaign.name}: every promise holds`, async (context) => {
      const report = await runCampaign(campaign, { ...options, template });
      if (report.skipped !== undefined) return context.skip(report.skipped);
      assert.deepEqual(report.broken, [], report.markdown(campaign.title));
    });
  }

  test("a campaign reports a write that is lost, one that is doubled and a wrong charge", async () => {
    const report = await runCampaign(forgery, { ...options, template });
    const broken = report.broken.map(({ promise, figure }) => `${promise}: ${figure}`).join("\n");
    for (const expected of [
      /lost: \d+ of \d+: task/,
      /made twice: 1: task/,
      /exactly one completed task: 1 of \d+: .* is complete and not charged/,
      /Rows of another user in reads: 1/,
    ]) {
      assert.match(broken, expected);
    }
    assert.match(report.markdown("Forgery"), /\*\*no\*\*/);
  });
});

/** A sound host, and a log and a database that were changed by hand. */
const forgery: Campaign = {
  name: "forgery",
  title: "A log that was forged",
  unit: "runs",
  rounds: { full: 1, short: 1 },
  async run(settings) {
    const report = new Report();
    const { load } = await startScene(settings);
    load.start();
    for (let look = 0; look < 100 && load.log.completions.size < 3; look++) await pause(100);
    await load.stop();
    const left = await load.drain();
    load.log.tasks.set(randomUUID(), { acknowledged: new Set([randomUUID()]) });
    const [request] = load.log.tasks.values();
    request?.acknowledged.add(randomUUID());
    load.log.foreignRows++;
    await withSession(load.options.databaseUrl, async (session) => {
      await session.query("set session_replication_role = replica");
      await session.query(
        `delete from credits_ledger where task_id = (select id from tasks where status = 'Complete' limit 1)`,
      );
    });
    await checkPromises(load, report, left);
    return report;
  },
};
