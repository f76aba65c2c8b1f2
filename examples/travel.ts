/**
 * From prompts to a film, as an app would do it: pictures, a travel through them, its segments and their stitch, live:
 *
 *   npm start                               in one terminal
 *   node --import tsx examples/travel.ts    in another
 */
import { openProject } from "./own-project.ts";
import { fail } from "./running-host.ts";

const prompts = ["A fox in the snow at dusk", "The fox leaps over a stream", "The fox asleep in its den"];

const { supabase, projectId, invoke, outputOf } = await openProject("Travel", 300);

const pictures = [];
for (const [index, prompt] of prompts.entries()) {
  const { task_id } = await invoke<{ task_id: string }>("create-task", {
    project_id: projectId,
    task_type: "z_image_turbo",
    params: { prompt, seed: index + 1, resolution: "902x508" },
  });
  pictures.push(task_id);
}
const imageUrls = [];
for (const taskId of pictures) imageUrls.push(await outputOf(taskId));

const travel = await invoke<{ task_id: string }>("steerable-motion", {
  project_id: projectId,
  image_urls: imageUrls,
  base_prompts: prompts.slice(1),
  segment_frames: [33],
  frame_overlap: [6],
  resolution: "902x508",
});
const film = await outputOf(travel.task_id);

const { data: parent } = await supabase
  .from("generations")
  .select("location,thumbnail_url,children:generations!parent_generation_id(child_order,location)")
  .eq("source_task_id", travel.task_id)
  .single()
  .throwOnError();
if (parent.location !== film) fail("The parent generation does not show the film.");
const { data: spends } = await supabase
  .from("credits_ledger")
  .select("amount")
  .eq("task_id", travel.task_id)
  .throwOnError();
console.log(`\npaid       ${-Number(spends[0]?.amount)} credits for the travel`);
for (const { child_order, location } of parent.children) console.log(`segment ${child_order}  ${location}`);
console.log(`\nSee the film:  ${film}`);
await supabase.removeAllChannels();
process.exit(0);
