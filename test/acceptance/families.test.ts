import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { families } from "../../supabase/functions/_shared/generators/families.ts";
import {
  claim,
  claimTask,
  complete,
  invoke,
  type Person,
  personWithProject,
  post,
  service,
  succeed,
  tokenOf,
} from "../support/calls.ts";
import { assertPayload, familyCases, makeRows, type RowIds, withRows } from "../support/family-fixtures.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";

type Row = Record<string, unknown>;
type Studio = Person & { projectId: string };

interface Created extends Row {
  task_id: string;
  task_ids: string[];
  status: string;
  meta: Row;
  held_microusd: number;
  deduplicated: boolean;
}

const cases = await familyCases();

/** What browsers send to families, what workers read of it, and what becomes of it. */
for (const { name, start } of hosts) {
  describe(`families on ${name}`, () => {
    let host: HostUnderTest;
    let person: Studio;
    let rows: RowIds;
    before(async () => {
      host = await start();
      person = await personWithProject(host);
      await host.sql`select add_credit(${person.userId}, 'manual', 100000000)`;
      rows = await makeRows(host.sql, person.projectId);
    });
    // Nobody has more than five tasks running: what a test leaves would be in the way of the next.
    afterEach(
      () => host.sql`
        select end_task(id, 'Cancelled', 'another test') from tasks where status in ('Queued', 'In Progress')`,
    );
    after(() => host?.stop());

    async function create(family: string, input: Row, more: Row = {}): Promise<Created> {
      const body = { family, project_id: person.projectId, input, ...more };
      return await succeed(invoke<Created>(person, "create-task", body));
    }

    for (const family of Object.keys(families)) {
      test(`${family}: workers read exactly what the fixtures say`, async () => {
        const own = cases.filter((one) => one.family === family);
        for (const [index, { title, aspect_ratio, input, tasks, meta }] of own.entries()) {
          await host.sql`update projects set aspect_ratio = ${aspect_ratio ?? null} where id = ${person.projectId}`;
          const created = await create(family, withRows(input, rows));
          assert.deepEqual([created.status, created.deduplicated], ["Task queued", false], title);
          assertPayload(created.meta, withRows(meta, rows));
          const stored = await host.sql<{ task_type: string; params: Row; places: number }[]>`
            select task_type, params,
                   (select count(*)::int from shot_generations
                     where generation_id = uuid_or_null(params ->> 'parent_generation_id') and shot_id = ${rows.shot}
                       and timeline_frame is null) as places
              from unnest(${created.task_ids}::uuid[]) with ordinality as made (id, position) join tasks using (id)
             order by position`;
          assert.equal(stored.length, tasks.length, title);
          for (const [place, { placeholder, ...expected }] of withRows(tasks, rows).entries()) {
            const { places, ...task } = stored[place] ?? { places: 0 };
            assertPayload(task, expected);
            assert.equal(places, placeholder ? 1 : 0, title);
          }
          if (index > 0) continue;
          const { task_type, params } = await claimTask(host, service(host), created.task_id);
          assertPayload({ task_type, params }, withRows(tasks[0], rows));
        }
      });
    }

    test("a batch of images is quoted, created by a token, drawn, and stands in its shot", async () => {
      const request = {
        family: "image_generation",
        project_id: person.projectId,
        input: { prompts: [{ fullPrompt: "a fox" }, "an owl"], model_name: "z-image", shot_id: rows.shot },
      };
      const quote = await succeed(invoke<Row>(person, "calculate-task-cost", request));
      assert.deepEqual([quote["task_count"], quote["cost_microusd"]], [2, 13_000]);
      const token = await tokenOf(person, { scopes: ["tasks:write"] });
      const created = await succeed(
        post<Created>(host, "create-task", { ...request, quote_id: quote["quote_id"] }, token.credentials),
      );
      assert.equal(created.held_microusd, 13_000);
      // In whatever order they come.
      for (let left = created.task_ids.length; left > 0; left--) {
        const claimed = await claim(host, service(host));
        assert.ok(claimed && created.task_ids.includes(claimed.task_id));
        await complete(host, service(host), claimed.task_id, {
          worker_id: "worker-1",
          attempt: claimed.attempt,
        });
      }
      const { data } = await person.client
        .from("shot_generations")
        .select(
          "timeline_frame, generation:generations!shot_generations_generation_id_generations_id_fk!inner(params)",
        )
        .in("source_task_id", created.task_ids)
        .throwOnError();
      const shown = data as unknown as { timeline_frame: number | null; generation: { params: Row } }[];
      assert.deepEqual(
        shown.map(({ timeline_frame, generation }) => [timeline_frame, generation.params["prompt"]]).sort(),
        [
          [null, "a fox"],
          [null, "an owl"],
        ],
      );
      const seeds = created.meta["seeds"] as number[];
      assert.deepEqual(shown.map(({ generation }) => generation.params["seed"]).sort(), [...seeds].sort());
    });
  });
}
