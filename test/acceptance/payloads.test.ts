import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { projectPath } from "../../server/migrate.ts";
import {
  claimTask,
  complete,
  type Completion,
  type Person,
  personWithProject,
  queueTask,
  service,
} from "../support/calls.ts";
import { hosts, type HostUnderTest } from "../support/hosts.ts";

interface Payload {
  task_type: string;
  params: Record<string, unknown>;
}

/** A payload as the clients of the Headless-Wan2GP format send it. */
async function fixture(name: string): Promise<Payload> {
  return JSON.parse(await readFile(projectPath(`test/fixtures/${name}.json`), "utf8")) as Payload;
}

for (const { name, start } of hosts) {
  describe(`payloads of the Headless-Wan2GP format on ${name}`, () => {
    let host: HostUnderTest;
    before(async () => void (host = await start()));
    after(() => host?.stop());

    for (const type of ["qwen_image", "z_image_turbo"]) {
      test(`${type} reaches the worker as it was sent, and becomes a generation`, async () => {
        const person = await personWithProject(host);
        const payload = await fixture(type);
        const made = await run(host, person, payload);
        assert.deepEqual(await generationsOf(person), [
          { id: made.generation_id, type: "image", based_on: null, primary_variant_id: made.variant_id },
        ]);
        assert.deepEqual(await variantsOf(person, made), [
          { id: made.variant_id, variant_type: "original", is_primary: true, location: made.public_url },
        ]);
      });
    }

    test("z_image_turbo_i2i with based_on becomes a variant, and the generation keeps its picture", async () => {
      const person = await personWithProject(host);
      const original = await run(host, person, await fixture("z_image_turbo"));
      const edited = await run(host, person, await fixture("z_image_turbo_i2i"), {
        based_on: original.generation_id,
      });
      assert.equal(edited.generation_id, original.generation_id);
      assert.deepEqual(edited.warnings, []);
      assert.deepEqual(await generationsOf(person), [
        {
          id: original.generation_id,
          type: "image",
          based_on: null,
          primary_variant_id: original.variant_id,
        },
      ]);
      assert.deepEqual(await variantsOf(person, original), [
        {
          id: original.variant_id,
          variant_type: "original",
          is_primary: true,
          location: original.public_url,
        },
        { id: edited.variant_id, variant_type: "edit", is_primary: false, location: edited.public_url },
      ]);
    });

    test("z_image_turbo_i2i with create_as_generation becomes a generation that names its origin", async () => {
      const person = await personWithProject(host);
      const original = await run(host, person, await fixture("z_image_turbo"));
      const edited = await run(host, person, await fixture("z_image_turbo_i2i"), {
        based_on: original.generation_id,
        create_as_generation: true,
      });
      assert.notEqual(edited.generation_id, original.generation_id);
      assert.deepEqual(
        (await generationsOf(person)).map(({ id, based_on }) => ({ id, based_on })),
        [
          { id: original.generation_id, based_on: null },
          { id: edited.generation_id, based_on: original.generation_id },
        ],
      );
      assert.deepEqual(
        (await variantsOf(person, edited)).map(({ variant_type, is_primary }) => ({
          variant_type,
          is_primary,
        })),
        [{ variant_type: "original", is_primary: true }],
      );
    });

    test("image_inpaint becomes a variant of type inpaint", async () => {
      const person = await personWithProject(host);
      const original = await run(host, person, await fixture("qwen_image"));
      const inpainted = await run(host, person, await fixture("image_inpaint"), {
        generation_id: original.generation_id,
        based_on: original.generation_id,
      });
      assert.equal(inpainted.generation_id, original.generation_id);
      assert.deepEqual(
        (await variantsOf(person, original)).map(({ id, variant_type }) => ({ id, variant_type })),
        [
          { id: original.variant_id, variant_type: "original" },
          { id: inpainted.variant_id, variant_type: "inpaint" },
        ],
      );
    });

    test("based_on of somebody else is left out, and said so", async () => {
      const [owner, other] = [await personWithProject(host), await personWithProject(host)];
      const original = await run(host, owner, await fixture("z_image_turbo"));
      const made = await run(host, other, await fixture("z_image_turbo_i2i"), {
        based_on: original.generation_id,
      });
      assert.deepEqual(
        made.warnings.map(({ field }) => field),
        ["based_on"],
      );
      assert.deepEqual(
        (await generationsOf(other)).map(({ id, based_on }) => ({ id, based_on })),
        [{ id: made.generation_id, based_on: null }],
      );
      assert.equal((await variantsOf(owner, original)).length, 1);
    });
  });
}

async function run(
  host: HostUnderTest,
  person: Person & { projectId: string },
  payload: Payload,
  more: Record<string, unknown> = {},
): Promise<Completion> {
  const params = { ...payload.params, ...more };
  const { task_id } = await queueTask(host, person, { taskType: payload.task_type, params });
  const claimed = await claimTask(host, service(host), task_id);
  assert.equal(claimed.task_type, payload.task_type);
  assert.deepEqual(claimed.params, params);
  return await complete(host, service(host), task_id);
}

async function generationsOf({ client }: Person): Promise<Record<string, unknown>[]> {
  const { data } = await client
    .from("generations")
    .select("id, type, based_on, primary_variant_id")
    .order("created_at")
    .throwOnError();
  return data;
}

async function variantsOf(
  { client }: Person,
  { generation_id }: Completion,
): Promise<Record<string, unknown>[]> {
  const { data } = await client
    .from("generation_variants")
    .select("id, variant_type, is_primary, location")
    .eq("generation_id", generation_id)
    .order("created_at")
    .throwOnError();
  return data;
}
