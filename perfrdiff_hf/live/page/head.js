// A head with ARKit-named shapes, drawn in one hidden canvas and copied to those of the listeners.
//
// Shapes are summed here and not by the graphics card: only a few are active, each moves a part of the vertices, and
// that is faster where there is no such card.

import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

const NECK_SHARE = 0.35;
const LARGEST_GAZE = [(25 * Math.PI) / 180, (30 * Math.PI) / 180];
const JOINTS = {
  head: /(^|[^a-z])head$/i,
  neck: /(^|[^a-z])neck$/i,
  leftEye: /(left_?eye|eye_?left|eye_l)$/i,
  rightEye: /(right_?eye|eye_?right|eye_r)$/i,
};

export class Stage {
  // names: of the 52 blendshapes, in the server's order.
  static async load(address, names) {
    const { scene } = await new GLTFLoader().loadAsync(address);
    return new Stage(scene, names);
  }

  constructor(model, names) {
    this.channels = new Map(names.map((name, channel) => [plain(name), channel]));
    this.look = gazeChannels(names);
    this.model = model;
    this.open();
    this.surfaces = [];
    const bones = [];
    model.traverse((node) => {
      if (node.isMesh) this.surfaces.push(this.prepare(node));
      bones.push(node);
    });
    this.surfaces = this.surfaces.filter((surface) => surface.shapes.length);
    model.updateMatrixWorld(true);
    this.joints = {};
    for (const [joint, name] of Object.entries(JOINTS)) {
      const node = bones.find((bone) => name.test(bone.name));
      if (node) this.joints[joint] = asJoint(node);
    }
    this.joints.head ??= asJoint(model);
    this.frame();
  }

  open() {
    this.canvas = document.createElement("canvas");
    this.renderer = new THREE.WebGLRenderer({ canvas: this.canvas, alpha: true, antialias: !isSoftware() });
    this.isSoftware = isSoftware(this.renderer.getContext());
    this.renderer.setPixelRatio(1);
    this.scene = new THREE.Scene();
    this.scene.add(this.model, new THREE.HemisphereLight(0xffffff, 0x8a7f78, 1.9));
    const sun = new THREE.DirectionalLight(0xffffff, 1.9);
    sun.position.set(0.5, 0.9, 1.2);
    this.scene.add(sun);
  }

  // The camera looks at the head from the front, wherever it stands and however large it is.
  frame() {
    const node = this.joints.head.node;
    const box = new THREE.Box3().setFromObject(node);
    if (box.isEmpty()) box.setFromObject(this.model);
    const [size, centre] = [box.getSize(new THREE.Vector3()), box.getCenter(new THREE.Vector3())];
    this.camera = new THREE.PerspectiveCamera(22, 1, size.y / 50, size.y * 50);
    this.camera.position.set(centre.x, centre.y, centre.z + 3.6 * size.y);
    this.camera.lookAt(centre.x, centre.y - 0.06 * size.y, centre.z);
  }

  // A mesh with its shapes as lists of what each moves.
  prepare(mesh) {
    const { position, normal, color } = mesh.geometry.attributes;
    const morphs = mesh.geometry.morphAttributes;
    const shapes = [];
    for (const [name, target] of Object.entries(mesh.morphTargetDictionary || {})) {
      const channel = this.channels.get(plain(name));
      if (channel === undefined) continue;
      const moved = [[position, morphs.position], [normal, morphs.normal]]
        .filter(([attribute, morph]) => attribute && morph)
        .map(([attribute, morph]) => ({ attribute, ...sparse(morph[target]) }));
      if (moved.some(({ indices }) => indices.length)) shapes.push({ channel, moved });
    }
    mesh.geometry.morphAttributes = {};
    mesh.updateMorphTargets();
    mesh.frustumCulled = false;
    if (this.isSoftware) mesh.material = simple(mesh.material, Boolean(color));
    const attributes = [position, normal].filter(Boolean);
    return { shapes, attributes, rest: attributes.map((attribute) => attribute.array.slice()) };
  }

  // face: 52 blendshapes, pitch, yaw, roll.
  pose(face) {
    for (const { shapes, attributes, rest } of this.surfaces) {
      attributes.forEach((attribute, index) => attribute.array.set(rest[index]));
      for (const { channel, moved } of shapes) {
        const weight = face[channel];
        if (weight < 0.002) continue;
        for (const { attribute, indices, amounts } of moved) add(attribute.array, indices, amounts, weight);
      }
      for (const attribute of attributes) attribute.needsUpdate = true;
    }
    this.turn(face);
  }

  turn(face) {
    const { head, neck, leftEye, rightEye } = this.joints;
    const angles = [face[52], face[53], face[54]];
    const whole = turned(angles);
    if (neck) {
      const part = turned(angles.map((angle) => NECK_SHARE * angle));
      apply(neck, part);
      whole.premultiply(part.invert());
    }
    apply(head, whole);
    const { down, up, left, right } = this.look;
    const sum = (channels) => channels.reduce((total, channel) => total + face[channel], 0);
    const gaze = turned([
      (LARGEST_GAZE[0] * (sum(down) - sum(up))) / 2,
      (LARGEST_GAZE[1] * (sum(left) - sum(right))) / 2,
      0,
    ]);
    for (const eye of [leftEye, rightEye]) if (eye) apply(eye, gaze);
  }

  // Draw a face into a canvas of the page, at that canvas's own size.
  draw(canvas, face) {
    const { width, height } = canvas;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.renderer.setSize(width, height, false);
      this.camera.aspect = width / height;
      this.camera.updateProjectionMatrix();
    }
    this.pose(face);
    this.renderer.render(this.scene, this.camera);
    const paper = canvas.getContext("2d");
    paper.clearRect(0, 0, width, height);
    paper.drawImage(this.canvas, 0, 0);
  }
}

// Names as perfrdiff_hf/faces/names.py compares them.
function plain(name) {
  const last = name.slice(name.lastIndexOf(".") + 1);
  const sided = last.replace(/_([LR])$/, (_, side) => (side === "L" ? "left" : "right"));
  const bare = sided.replace(/[_\s]/g, "").toLowerCase();
  return /^(browinnerup|cheekpuff)(left|right)$/.test(bare) ? bare.replace(/(left|right)$/, "") : bare;
}

function gazeChannels(names) {
  const of = (...wanted) => wanted.map((name) => names.indexOf(name));
  return {
    down: of("eyeLookDownLeft", "eyeLookDownRight"),
    up: of("eyeLookUpLeft", "eyeLookUpRight"),
    left: of("eyeLookOutLeft", "eyeLookInRight"),
    right: of("eyeLookInLeft", "eyeLookOutRight"),
  };
}

function sparse(morph) {
  const indices = [];
  const amounts = [];
  for (let index = 0; index < morph.count; index += 1) {
    const move = [morph.getX(index), morph.getY(index), morph.getZ(index)];
    if (move.some((amount) => Math.abs(amount) > 1e-6)) {
      indices.push(3 * index);
      amounts.push(...move);
    }
  }
  return { indices: Uint32Array.from(indices), amounts: Float32Array.from(amounts) };
}

function add(numbers, indices, amounts, weight) {
  for (let move = 0; move < indices.length; move += 1) {
    const at = indices[move];
    numbers[at] += weight * amounts[3 * move];
    numbers[at + 1] += weight * amounts[3 * move + 1];
    numbers[at + 2] += weight * amounts[3 * move + 2];
  }
}

const turned = ([pitch, yaw, roll]) =>
  new THREE.Quaternion().setFromEuler(new THREE.Euler(pitch, yaw, roll, "YXZ"));

function asJoint(node) {
  const outer = new THREE.Quaternion();
  if (node.parent) node.parent.getWorldQuaternion(outer);
  return { node, outer, inverse: outer.clone().invert(), rest: node.quaternion.clone() };
}

// A turn in the world's axes on top of how the joint rests.
function apply({ node, outer, inverse, rest }, turn) {
  node.quaternion.copy(inverse).multiply(turn).multiply(outer).multiply(rest);
}

function simple(material, hasColours) {
  return new THREE.MeshLambertMaterial({ color: material.color, map: material.map, vertexColors: hasColours });
}

// Whether the processor draws, for want of a graphics card.
export function isSoftware(context) {
  const gl = context || document.createElement("canvas").getContext("webgl2");
  const asked = gl && gl.getExtension("WEBGL_debug_renderer_info");
  const name = asked ? gl.getParameter(asked.UNMASKED_RENDERER_WEBGL) : "";
  if (!context && gl) gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software/i.test(name);
}
