import assert from "node:assert/strict";
import { test } from "node:test";
import type { SupabaseClient } from "@supabase/supabase-js";
import { SignJWT } from "jose";
import { withDatabase } from "../../test/support/database.ts";
import { createUser, type TestUser } from "../../test/support/factories.ts";
import { withServed } from "../auth/serve-for-tests.ts";
import { createRest } from "./rest.ts";

interface Studio {
  service: SupabaseClient;
  owner: { client: SupabaseClient; user: TestUser };
  other: { client: SupabaseClient; user: TestUser };
}

function studioTest(name: string, body: (studio: Studio) => Promise<void>): void {
  test(name, () =>
    withDatabase((database) =>
      withServed(
        database,
        (app, context) => app.route("/rest/v1", createRest(context).app),
        async ({ context, client, url }) => {
          async function person(): Promise<Studio["owner"]> {
            const user = await createUser(database.sql);
            const token = await new SignJWT({ role: "authenticated" })
              .setProtectedHeader({ alg: "HS256" })
              .setIssuer(`${url}/auth/v1`)
              .setAudience("authenticated")
              .setSubject(user.userId)
              .setExpirationTime("1h")
              .sign(new TextEncoder().encode(context.keys.jwtSecret));
            return { user, client: client(context.keys.anonKey, token) };
          }
          await body({
            service: client(context.keys.serviceRoleKey),
            owner: await person(),
            other: await person(),
          });
        },
      ),
    ),
  );
}

/** A shot with two images; the first has two versions, and is what the second was made from. */
async function makeShot(service: SupabaseClient, { projectId }: TestUser): Promise<string> {
  const inserted = async (table: string, row: Record<string, unknown>) => {
    const { data, error } = await service.from(table).insert(row).select("id").single<{ id: string }>();
    assert.equal(error, null);
    return data?.id ?? "";
  };
  const shot = await inserted("shots", { project_id: projectId, name: "One" });
  const [first, second] = [
    await inserted("generations", { project_id: projectId, type: "image", location: "http://x/1.png" }),
    await inserted("generations", { project_id: projectId, type: "image", location: "http://x/2.png" }),
  ];
  await service.from("generations").update({ based_on: first }).eq("id", second);
  for (const [generation, name, is_primary] of [
    [first, "original", true],
    [first, "upscaled", false],
    [second, "original", true],
  ] as const) {
    const location = `http://x/${name}.png`;
    const row = {
      generation_id: generation,
      project_id: projectId,
      location,
      variant_type: name,
      is_primary,
    };
    await inserted("generation_variants", row);
  }
  await inserted("shot_generations", { shot_id: shot, generation_id: second, timeline_frame: 50 });
  await inserted("shot_generations", { shot_id: shot, generation_id: first, timeline_frame: 0 });
  return shot;
}

const shotWithImages =
  "name, images:shot_generations(timeline_frame, generation:generations!shot_generations_generation_id_generations_id_fk!inner(type, " +
  "versions:generation_variants!generation_id(variant_type, is_primary), " +
  "made_from:based_on(location)))";

studioTest(
  "a browser reads a shot, its images and their versions at once",
  async ({ service, owner, other }) => {
    const shot = await makeShot(service, owner.user);
    await makeShot(service, other.user);

    const { data, error } = await owner.client
      .from("shots")
      .select(shotWithImages)
      .eq("images.generation.type", "image")
      .order("timeline_frame", { referencedTable: "images" })
      .order("variant_type", { referencedTable: "images.generation.versions" });
    assert.equal(error, null);
    const original = { variant_type: "original", is_primary: true };
    assert.deepEqual(data, [
      {
        name: "One",
        images: [
          {
            timeline_frame: 0,
            generation: {
              type: "image",
              versions: [original, { variant_type: "upscaled", is_primary: false }],
              made_from: null,
            },
          },
          {
            timeline_frame: 50,
            generation: {
              type: "image",
              versions: [original],
              made_from: { location: (await primaryLocation(owner.client, 0)) ?? "" },
            },
          },
        ],
      },
    ]);
    // The same question by somebody else finds nothing of it, from whichever end it is asked.
    assert.deepEqual((await other.client.from("shots").select(shotWithImages).eq("id", shot)).data, []);
    const fromImages = await other.client
      .from("generations")
      .select("shot_generations!generation_id!inner(shots!inner(name))")
      .eq("shot_generations.shot_id", shot);
    assert.deepEqual([fromImages.error, fromImages.data], [null, []]);
  },
);

/** Where the image at this frame lies now: the file of its primary version. */
async function primaryLocation(client: SupabaseClient, frame: number): Promise<string | undefined> {
  const { data } = await client
    .from("shot_generations")
    .select("generations!generation_id(location)")
    .eq("timeline_frame", frame)
    .single<{ generations: { location: string } }>();
  return data?.generations.location;
}

studioTest(
  "the last image of a shot comes by order and limit, counted in all",
  async ({ service, owner }) => {
    await makeShot(service, owner.user);
    const { data, count, error } = await owner.client
      .from("shots")
      .select("name, shot_generations(timeline_frame)", { count: "exact" })
      .order("timeline_frame", { referencedTable: "shot_generations", ascending: false })
      .limit(1, { referencedTable: "shot_generations" });
    assert.deepEqual(
      [error, count, data],
      [null, 1, [{ name: "One", shot_generations: [{ timeline_frame: 50 }] }]],
    );
  },
);

studioTest("a function refuses through REST with the status and code it has everywhere", async (studio) => {
  const { service, owner, other } = studio;
  const shot = await makeShot(service, owner.user);
  const { data } = await service.from("generations").select("id").limit(1).single<{ id: string }>();
  const call = { p_shot_id: shot, p_generation_id: data?.id };
  const refused = await other.client.rpc("add_generation_to_shot", call);
  assert.deepEqual(
    [refused.status, refused.error?.code, refused.error?.message],
    [404, "PT404", "shot_not_found"],
  );
  assert.equal((await owner.client.rpc("add_generation_to_shot", call)).status, 200);
});

studioTest(
  "a timeline as browsers ask for it, by the names of the keys",
  async ({ service, owner: { client, user } }) => {
    const shot = await makeShot(service, user);
    const { data, error } = await client
      .from("shot_generations")
      .select(
        `id, shot_id, timeline_frame, generation_id,
       generation:generations!shot_generations_generation_id_generations_id_fk (
         id, location, starred, name, based_on, params, primary_variant_id,
         primary_variant:generation_variants!generations_primary_variant_id_fkey (location, thumbnail_url),
         generation_variants!generation_variants_generation_id_fkey (variant_type))`,
      )
      .eq("shot_id", shot)
      .order("timeline_frame");
    assert.equal(error, null);
    const rows = data as unknown as {
      generation: {
        location: string;
        primary_variant: { location: string } | null;
        generation_variants: unknown[];
      };
    }[];
    assert.equal(rows.length, 2);
    for (const { generation } of rows) {
      if (generation.primary_variant) assert.equal(generation.primary_variant.location, generation.location);
    }
    assert.equal(rows[0]?.generation.generation_variants.length, 2);
  },
);
