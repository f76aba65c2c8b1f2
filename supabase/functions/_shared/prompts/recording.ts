import { AppError } from "../errors/app-error.ts";

/** Formats that transcription takes, by what their files begin with. */
const formats: { type: string; extension: string; begins: (head: Uint8Array) => boolean }[] = [
  { type: "audio/webm", extension: "webm", begins: (head) => hasText(head, 0, "\x1a\x45\xdf\xa3") },
  {
    type: "audio/wav",
    extension: "wav",
    begins: (head) => hasText(head, 0, "RIFF") && hasText(head, 8, "WAVE"),
  },
  { type: "audio/mp4", extension: "mp4", begins: (head) => hasText(head, 4, "ftyp") },
  { type: "audio/ogg", extension: "ogg", begins: (head) => hasText(head, 0, "OggS") },
  { type: "audio/flac", extension: "flac", begins: (head) => hasText(head, 0, "fLaC") },
  { type: "audio/mpeg", extension: "mp3", begins: (head) => hasText(head, 0, "ID3") || isMpegFrame(head) },
];

/**
 * The recording under a name and type of ours: providers go by these, and senders may write anything there. How long it
 * is, only its bytes say: a container tells any duration that its maker likes, so the bound is on the size.
 * @throws AppError `invalid_request`
 */
export async function checkedRecording(audio: File): Promise<File> {
  const head = new Uint8Array(await audio.slice(0, 12).arrayBuffer());
  const format = formats.find(({ begins }) => begins(head));
  if (!format) {
    throw new AppError("invalid_request", {
      issues: [{ path: "audio", message: "is no webm, mp4, wav, ogg, mp3 or flac" }],
    });
  }
  return new File([audio], `recording.${format.extension}`, { type: format.type });
}

function hasText(head: Uint8Array, at: number, text: string): boolean {
  return String.fromCharCode(...head.subarray(at, at + text.length)) === text;
}

/** Eleven set bits, then a layer that exists. */
function isMpegFrame([first = 0, second = 0]: Uint8Array): boolean {
  return first === 0xff && (second & 0xe0) === 0xe0 && (second & 0x06) !== 0;
}
