import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { invoke, type Person, personWithProject, succeed } from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { ShippedWorker } from "../support/shipped-worker/shipped-worker.ts";

type Row = Record<string, unknown>;

interface Created extends Row {
  task_id: string;
  meta: Row;
}

const images = [1, 2, 3].map((name) => `https://media.example/${name}.png`);

/** The shipped worker with what families build, from the browser's create to the gallery. */
for (const { name, start } of hosts) {
  describe(`orchestrations by family on ${name}`, () => {
    let host: HostUnderTest;
    let person: Person & { projectId: string };
    before(async () => {
      host = await start();
      person = await personWithProject(host);
      await host.sql`select add_credit(${person.userId}, 'manual', 100000000)`;
    });
    after(() => host?.stop());

    async function create(family: string, input: Row): Promise<Created> {
      const body = { family, project_id: person.projectId, input };
      return await succeed(invoke<Created>(person, "create-task", body));
    }

    test("a travel in a shot runs to its end under its placeholder; then a segment is made anew by itself", async () => {
      const [shot] = await host.sql<{ id: string }[]>`
        insert into shots (project_id) values (${person.projectId}) returning id`;
      const travel = await create("travel_between_images", {
        image_urls: images,
        base_prompts: ["a walk", "a run"],
        segment_frames: [61, 33],
        shot_id: shot?.id,
        generation_name: "Journey",
      });
      const parent = String(travel.meta["parent_generation_id"]);
      const waiting = await person.client
        .from("generations")
        .select("location, name")
        .eq("id", parent)
        .single();
      assert.deepEqual(waiting.data, { location: null, name: "Journey" });

      const worker = await startWorker();
      await worker.workUntilIdle();
      assert.equal(await statusOf(travel.task_id), "Complete");
      const children = await childrenOf(parent);
      assert.deepEqual(
        children.map(({ child_order }) => child_order),
        [0, 1],
      );
      assert.ok(children.every(({ location }) => location));

      const remade = await create("individual_travel_segment", {
        segment_index: 1,
        start_image_url: images[1],
        end_image_url: images[2],
        parent_generation_id: parent,
        child_generation_id: children[1]?.id,
        originalParams: { orchestrator_details: { orchestrator_task_id: travel.task_id } },
      });
      await worker.workUntilIdle();
      assert.equal(await statusOf(remade.task_id), "Complete");
      const after = await childrenOf(parent);
      assert.equal(after.length, 2);
      assert.notEqual(after[1]?.location, children[1]?.location);
      assert.equal(after[0]?.location, children[0]?.location);
      const spends = await host.sql`
        select task_id from credits_ledger where user_id = ${person.userId} and type = 'spend' order by sequence desc limit 2`;
      assert.deepEqual(
        spends.map((row) => row["task_id"] as string),
        [remade.task_id, travel.task_id],
        "each is charged once, by itself",
      );

      const clips = after.map(({ location }) => ({ url: location }));
      const joined = await create("join_clips", { clips, parent_generation_id: parent });
      const edited = await create("edit_video_orchestrator", {
        source_video_url: clips[0]?.url,
        portions_to_regenerate: [{ start_frame: 2, end_frame: 9 }],
      });
      await worker.workUntilIdle();
      for (const { task_id } of [joined, edited]) assert.equal(await statusOf(task_id), "Complete");
      const { data } = await person.client.from("generations").select("location").eq("id", parent).single();
      assert.ok((data as { location: string | null }).location, "the parent shows the join");
      assert.equal(await heldNow(), 0);
    });

    async function startWorker(): Promise<ShippedWorker> {
      const key = host.keys.serviceRoleKey;
      const worker = new ShippedWorker(host, { accessToken: key, clientKey: key });
      await worker.start();
      return worker;
    }

    async function statusOf(task: string): Promise<unknown> {
      const [row] = await host.sql`select status from tasks where id = ${task}`;
      return row?.["status"];
    }

    async function heldNow(): Promise<unknown> {
      const [row] = await host.sql`
        select held_microusd::int as held from credit_accounts where user_id = ${person.userId}`;
      return row?.["held"];
    }

    async function childrenOf(
      parent: string,
    ): Promise<{ id: string; child_order: number; location: string | null }[]> {
      const { data } = await person.client
        .from("generations")
        .select("id, child_order, location")
        .eq("parent_generation_id", parent)
        .order("child_order")
        .throwOnError();
      return data;
    }
  });
}
