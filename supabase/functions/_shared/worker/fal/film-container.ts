/** Reads the containers of films; the one file that imports the library. */
export { BufferSource, Input, type InputVideoTrack, MATROSKA, MP4, QTFF, WEBM } from "mediabunny";
