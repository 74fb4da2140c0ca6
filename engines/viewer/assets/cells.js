// What has become of the cells of a grid, by their digit in a frame: colours, marks and words.

// A mark besides the colour, for who does not tell the colours apart: nothing, a point, lines or a cross.
const CELLS = [
  { name: "empty", about: "no token yet", fill: null, mark: null },
  { name: "guesses", about: "a guess, not shown", fill: "rgba(190,190,190,0.5)", mark: "point" },
  { name: "drafts", about: "a draft that nobody has judged", fill: "rgb(120,135,170)", mark: "line" },
  { name: "kept", about: "a draft that stays", fill: "rgb(70,160,90)", mark: null },
  { name: "rejected", about: "a draft that is drawn again", fill: "rgb(214,40,40)", mark: "cross" },
  { name: "beside rejected", about: "drawn again, since one near it is rejected", fill: "rgb(245,170,40)", mark: "lines" },
  { name: "drawn", about: "drawn by the model whose grid this is", fill: "rgba(40,95,190,0.4)", mark: "point" },
];

// Draw one cell's sign into a square of a canvas.
function drawCell(pen, cell, left, top, side) {
  const { fill, mark } = CELLS[cell] || CELLS[0];
  if (!fill) return;
  pen.fillStyle = fill;
  pen.fillRect(left, top, side, side);
  if (!mark) return;
  pen.strokeStyle = pen.fillStyle = "rgba(255,255,255,0.9)";
  pen.lineWidth = Math.max(1, side / 10);
  const near = side * 0.25, far = side - near;
  const line = (x, y, toX, toY) => {
    pen.moveTo(left + x, top + y);
    pen.lineTo(left + toX, top + toY);
  };
  pen.beginPath();
  if (mark === "point") pen.arc(left + side / 2, top + side / 2, side / 8, 0, 2 * Math.PI);
  if (mark === "line") line(near, side / 2, far, side / 2);
  if (mark === "cross") line(near, near, far, far);
  if (mark === "cross") line(near, far, far, near);
  if (mark === "lines") line(near / 2, far, far, near / 2);
  if (mark === "lines") line(near * 1.5, side - near / 2, side - near / 2, near * 1.5);
  if (mark === "point") pen.fill();
  else pen.stroke();
}

// Draw the map of a frame's cells over a whole canvas, which takes its size from the grid.
function drawMap(canvas, frame) {
  const side = Math.max(4, Math.floor(1024 / Math.max(frame.rows, frame.columns, 1)));
  canvas.width = Math.max(1, frame.columns * side);
  canvas.height = Math.max(1, frame.rows * side);
  const pen = canvas.getContext("2d");
  const gap = Math.max(1, side / 16);
  for (let index = 0; index < frame.cells.length; index += 1) {
    const left = (index % frame.columns) * side, top = Math.floor(index / frame.columns) * side;
    drawCell(pen, Number(frame.cells[index]), left + gap / 2, top + gap / 2, side - gap);
  }
}

// How many cells of a frame are of each kind.
function countCells(frame) {
  const counts = CELLS.map(() => 0);
  for (const digit of frame.cells) counts[Number(digit)] += 1;
  return counts;
}
