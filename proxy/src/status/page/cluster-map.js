// The 16,384 slots as a picture: 128 rows of 128, coloured by owner, brighter where it is busier.
"use strict";

const ClusterMap = (() => {
  const SLOTS = 16384, SIDE = 128;
  // Apart in hue and in lightness; the thirteenth node has the first one's colour again.
  const COLOURS = [
    [59, 111, 212], [226, 125, 38], [46, 146, 102], [178, 60, 130], [133, 106, 207], [176, 143, 32],
    [33, 150, 171], [201, 73, 66], [110, 140, 52], [118, 118, 128], [84, 84, 190], [160, 92, 60],
  ];
  const NOBODY = [20, 20, 24];
  let owners = new Int16Array(SLOTS).fill(-1);
  let names = [];
  let heat = null;

  function colourOf(address) {
    const place = names.indexOf(address);
    return place < 0 ? null : `rgb(${COLOURS[place % COLOURS.length].join(" ")})`;
  }

  function setTopology(topology) {
    names = topology.shards.map((shard) => shard.primary).sort();
    owners = new Int16Array(SLOTS).fill(-1);
    for (const shard of topology.shards) {
      const place = names.indexOf(shard.primary);
      for (const [first, last] of shard.slots) owners.fill(place, first, last + 1);
    }
  }

  function setHeat(requests) { heat = requests; }

  function draw(canvas) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(SIDE, SIDE);
    let most = 1;
    if (heat) for (const count of heat) most = Math.max(most, count);
    for (let slot = 0; slot < SLOTS; slot++) {
      const owner = owners[slot];
      const colour = owner < 0 ? NOBODY : COLOURS[owner % COLOURS.length];
      // The square root shows the many lukewarm ones beside the one that is hot.
      const share = heat && heat[slot] ? Math.sqrt(heat[slot] / most) : 0;
      const light = owner < 0 ? 0 : share * 0.75;
      for (let part = 0; part < 3; part++) {
        image.data[slot * 4 + part] = colour[part] * (0.8 + 0.2 * share) * (1 - light) + 255 * light;
      }
      image.data[slot * 4 + 3] = 255;
    }
    if (canvas.width !== SIDE) { canvas.width = SIDE; canvas.height = SIDE; }
    context.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", describe());
  }

  function describe() {
    const counts = names.map((_, place) => owners.reduce((sum, owner) => sum + (owner === place), 0));
    const free = owners.reduce((sum, owner) => sum + (owner < 0), 0);
    const parts = names.map((name, place) => `${name} has ${counts[place]} slots`);
    if (free) parts.push(`${free} slots have no node`);
    return parts.join(", ") || "No topology yet";
  }

  function at(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / box.width * SIDE);
    const row = Math.floor((event.clientY - box.top) / box.height * SIDE);
    if (column < 0 || row < 0 || column >= SIDE || row >= SIDE) return null;
    const slot = row * SIDE + column;
    return { slot, owner: names[owners[slot]], requests: heat ? heat[slot] : null };
  }

  return { setTopology, setHeat, draw, colourOf, at };
})();
