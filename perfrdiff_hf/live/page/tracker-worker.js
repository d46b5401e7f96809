// Faces in pictures, in a thread of its own; no picture leaves it.

import { FaceLandmarker, FilesetResolver } from "../vendor/tasks-vision/vision_bundle.mjs";

let landmarker = null;
let channels = null;
let lastMoment = 0;

self.onmessage = async ({ data }) => {
  try {
    if (data.names) await open(data);
    else look(data);
  } catch (error) {
    if (data.picture) data.picture.close();
    self.postMessage({ error: `The face tracker failed: ${error.message || error}` });
  }
};

async function open({ names, wasm, model }) {
  channels = new Map(names.map((name, channel) => [name, channel]));
  const files = await FilesetResolver.forVisionTasks(wasm, true);
  landmarker = await FaceLandmarker.createFromOptions(files, {
    baseOptions: { modelAssetPath: model, delegate: "CPU" },
    runningMode: "VIDEO",
    numFaces: 1,
    outputFaceBlendshapes: true,
    outputFacialTransformationMatrixes: true,
  });
  self.postMessage({ ready: true });
}

function look({ picture, seconds }) {
  const began = performance.now();
  lastMoment = Math.max(lastMoment + 1, Math.round(performance.now()));
  const found = landmarker.detectForVideo(picture, lastMoment);
  picture.close();
  const row = new Float32Array(57);
  row[0] = seconds;
  if (found.faceBlendshapes.length) {
    row[1] = 1;
    for (const { categoryName, score } of found.faceBlendshapes[0].categories) {
      const channel = channels.get(categoryName);
      if (channel !== undefined) row[2 + channel] = Math.min(1, Math.max(0, score));
    }
    row.set(angles(found.facialTransformationMatrixes[0].data), 54);
  }
  self.postMessage({ row, milliseconds: performance.now() - began }, [row.buffer]);
}

// Pitch, yaw and roll: they grow as the face looks down, turns to its own left, and leans to its own right.
function angles(matrix) {
  return [
    Math.asin(Math.min(1, Math.max(-1, -matrix[9]))),
    Math.atan2(matrix[8], matrix[10]),
    Math.atan2(matrix[1], matrix[5]),
  ];
}
