/**
 * From prompts to a film on a shot's timeline, with a key of FAL and no GPU: pictures, a travel through them, one film.
 *
 *   FAL_KEY=… npm start                              in one terminal
 *   node --import tsx examples/travel-with-fal.ts    in another
 *
 * FAL bills three pictures and two films of two seconds.
 */
import { openProject } from "./own-project.ts";
import { fail } from "./running-host.ts";

const prompts = ["A fox in the snow at dusk", "The fox leaps over a stream", "The fox asleep in its den"];
const resolution = "832x480";

const { supabase, projectId, invoke, outputOf } = await openProject("Travel with FAL", 1200);
const { data: shot } = await supabase
  .from("shots")
  .insert({ project_id: projectId, name: "The fox" })
  .select("id")
  .single()
  .throwOnError();
const shotId = shot.id as string;

// One after the other, so that the pictures stand on the timeline in the order of the prompts.
const imageUrls = [];
for (const [index, prompt] of prompts.entries()) {
  const { task_id } = await invoke<{ task_id: string }>("create-task", {
    project_id: projectId,
    task_type: "z_image_turbo",
    params: { prompt, seed: index + 1, resolution, shot_id: shotId, add_in_position: true },
  });
  imageUrls.push(await outputOf(task_id));
}

const { task_id: travel } = await invoke<{ task_id: string }>("steerable-motion", {
  project_id: projectId,
  shot_id: shotId,
  add_in_position: true,
  image_urls: imageUrls,
  base_prompts: prompts.slice(1),
  segment_frames: [33],
  frame_overlap: [6],
  resolution,
});
const film = await outputOf(travel);
if (!film.includes("_fal_")) fail("Another worker made the film. Start the host with FAL_KEY.");

const { data: places } = await supabase
  .from("shot_generations")
  .select("timeline_frame,generations!generation_id(type,location,source_task_id)")
  .eq("shot_id", shotId)
  .order("timeline_frame")
  .returns<Place[]>()
  .throwOnError();
console.log("");
for (const { timeline_frame: frame, generations: shown } of places) {
  console.log(`frame ${String(frame).padStart(4)}  ${shown.type.padEnd(6)} ${shown.location}`);
}
const last = places.at(-1)?.generations;
if (last?.source_task_id !== travel || last.location !== film) fail("The film is not at the timeline's end.");
const { data: spends } = await supabase
  .from("credits_ledger")
  .select("amount")
  .eq("task_id", travel)
  .throwOnError();
console.log(`\npaid       ${-Number(spends[0]?.amount)} credits for the travel`);
console.log(`\nSee the film:  ${film}`);
await supabase.removeAllChannels();
process.exit(0);

interface Place {
  timeline_frame: number;
  generations: { type: string; location: string; source_task_id: string };
}
