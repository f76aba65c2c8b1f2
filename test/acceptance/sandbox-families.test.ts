import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { families } from "../../supabase/functions/_shared/generators/families.ts";
import { invoke, succeed } from "../support/calls.ts";
import { familyCases, makeRows, withRows } from "../support/family-fixtures.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { assertHealthy, SandboxUnderTest } from "../support/sandbox.ts";
import { assertNothingOpen, openStudio, type Row } from "../support/studio.ts";

const cases = await familyCases();
/** How many of a family's requests are run, where one takes long: the least that a client sends is the first. */
const runs: Record<string, number> = { join_clips: 1, edit_video_orchestrator: 1 };

/**
 * What the server builds of each family is what the sandbox reads: from the browser's create to the stored output. On one host:
 * the sandbox is the same beside each, and `families.test.ts` holds what they build against each other.
 */
for (const { name, start } of hosts.slice(0, 1)) {
  describe(`every family in the sandbox on ${name}`, () => {
    let sandbox: SandboxUnderTest;
    let host: HostUnderTest;
    before(async () => {
      // Pictures and films of their full size take most of the time, and say no more about a family.
      sandbox = await SandboxUnderTest.beside(await start(), { size: { width: 64, height: 64 } });
      ({ host } = sandbox);
    });
    after(() => sandbox?.close());

    test("every family has a request to run", () => {
      for (const family of Object.keys(families))
        assert.ok(
          cases.some((one) => one.family === family),
          family,
        );
    });

    for (const family of Object.keys(families)) {
      test(`${family} runs to its end and has an output`, async () => {
        const studio = await openStudio(host);
        const rows = await makeRows(host.sql, studio.projectId);
        await host.sql`select end_task(${rows.travel}, 'Cancelled', 'not part of the test')`;
        const own = cases.filter((one) => one.family === family);
        for (const { title, input } of own.slice(0, runs[family] ?? 2)) {
          const created = await succeed(
            invoke<{ task_ids: string[] }>(studio, "create-task", {
              family,
              project_id: studio.projectId,
              input: withRows(input, rows),
            }),
          );
          const done = await sandbox.run(studio, ...created.task_ids);
          for (const task of done) {
            assert.equal(task["status"], "Complete", `${title}: ${String(task["error_message"])}`);
            assert.ok(await hasOutput(task), `${title}: ${JSON.stringify(task)}`);
          }
        }
        await assertNothingOpen(host, studio);
        await assertHealthy(host);
      });
    }

    /** Its own file, or, of an orchestration without a stitch, those of all its parts. */
    async function hasOutput({ id, output_location }: Row): Promise<boolean> {
      const own = typeof output_location === "string" ? [output_location] : [];
      const parts = await host.sql<{ output_location: string | null; status: string }[]>`
        select output_location, status from tasks where orchestrator_task_id = ${String(id)}`;
      const urls = own.length > 0 ? own : parts.map((part) => part.output_location ?? "");
      const answers = await Promise.all(urls.map((url) => fetch(url)));
      for (const answer of answers) await answer.body?.cancel();
      return (
        urls.length > 0 && answers.every(({ ok }) => ok) && parts.every(({ status }) => status === "Complete")
      );
    }
  });
}
