import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  booksOf,
  claimTask,
  complete,
  type CreatedTask,
  finishTask,
  invoke,
  type Person,
  personWithProject,
  queueTask,
  service,
  stateOf,
  succeed,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";
import { png } from "../support/png.ts";

type Answer = CreatedTask & { reused: boolean; shares_run: boolean };

for (const { name, start } of hosts) {
  describe(`reusing results on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    /** Somebody who has switched it on for their project, as a browser does. */
    async function reusing(): Promise<Person & { projectId: string }> {
      const person = await personWithProject(host);
      const { error } = await person.client
        .from("projects")
        .update({ reuses_results: true })
        .eq("id", person.projectId);
      assert.equal(error, null);
      return person;
    }

    async function upload({ client, userId }: Person, file: string, bytes: Uint8Array): Promise<string> {
      const bucket = client.storage.from("image_uploads");
      const { error } = await bucket.upload(`${userId}/uploads/${file}`, bytes, {
        contentType: "image/png",
        upsert: true,
      });
      assert.equal(error, null);
      return bucket.getPublicUrl(`${userId}/uploads/${file}`).data.publicUrl;
    }

    test("the same picture of the same input comes at once, wherever that lies; of another input it is made", async () => {
      const person = await reusing();
      const create = async (image: string) =>
        (await queueTask(host, person, {
          taskType: "z_image_turbo_i2i",
          params: { prompt: "a fox", seed: 7, image_url: image },
        })) as Answer;
      const params = { prompt: "a fox", seed: 7, image_url: await upload(person, "a.png", png()) };
      const first = await finishTask(host, person, { taskType: "z_image_turbo_i2i", params });
      const spent = await booksOf(host, person.userId);

      const again = await create(await upload(person, "a copy, ä.png", png()));
      assert.deepEqual(
        [again.status, again.reused, again.upper_bound_microusd, again.held_microusd],
        ["Task complete", true, 0, 0],
      );
      const state = (await stateOf(host, again.task_id)) as Awaited<ReturnType<typeof stateOf>> & {
        output_location: string;
        reused_task_id: string;
      };
      assert.deepEqual(
        [state.status, state.output_location, state.reused_task_id],
        ["Complete", first.public_url, first.task_id],
      );
      assert.notEqual(state.generation_id, first.generation_id);
      assert.equal((await fetch(state.output_location)).status, 200);
      assert.deepEqual(await booksOf(host, person.userId), spent);

      const other = await create(await upload(person, "a.png", png({ width: 3 })));
      assert.equal(other.reused, false, "the file was replaced");
    });

    test("two who ask for the same at once get it from one run, and one is charged", async () => {
      const person = await reusing();
      const before = await booksOf(host, person.userId);
      const request = {
        task_type: "z_image_turbo",
        params: { prompt: "a fox", seed: 7 },
        project_id: person.projectId,
      };
      const [one, other] = await Promise.all([
        succeed(invoke<Answer>(person, "create-task", request)),
        succeed(invoke<Answer>(person, "create-task", request)),
      ]);
      const [runs, follows] = one.shares_run ? [other, one] : [one, other];
      assert.deepEqual([runs.shares_run, follows.shares_run], [false, true]);
      const { attempt } = await claimTask(host, service(host), runs.task_id);
      await complete(host, service(host), runs.task_id, { worker_id: "worker-1", attempt });
      const state = await stateOf(host, follows.task_id);
      assert.deepEqual([state.status, state.attempt, state.worker_id], ["Complete", 0, null]);
      const { balance, held } = await booksOf(host, person.userId);
      assert.deepEqual([before.balance - balance, held], [6_500, 0]);
    });
  });
}
