// Draws a take: a bar for each moment that has come, in another colour where it has sounded, and a line for the rest.

const STEP = 3; // pixels from bar to bar
const BAR = 2;

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  /** position: the sample that sounds now. */
  draw(take, position) {
    const { canvas, context } = this;
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    const pixels = [Math.round(width * scale), Math.round(height * scale)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);

    const style = getComputedStyle(canvas);
    const [ink, accent, line] = ["--wave", "--accent", "--line"].map((name) => style.getPropertyValue(name));
    const bars = Math.max(1, Math.floor(width / STEP));
    const length = take.expectedLength || 1;
    const made = Math.ceil((take.length / length) * bars);
    const played = (position / length) * bars;
    const perBar = (length / bars) * (take.peaks.length / (take.length || 1));
    const loudest = Math.max(0.1, take.peaks.reduce((most, level) => Math.max(most, level), 0));
    for (let bar = 0; bar < bars; bar++) {
      let level = 0;
      if (bar < made) {
        const from = Math.floor(bar * perBar);
        const to = Math.max(from + 1, Math.floor((bar + 1) * perBar));
        for (let place = from; place < to; place++) level = Math.max(level, take.peaks[place] ?? 0);
      }
      const size = Math.max(1, (level / loudest) * (height - 2));
      context.fillStyle = bar >= made ? line : bar < played ? accent : ink;
      context.fillRect(bar * STEP, (height - size) / 2, BAR, size);
    }
  }
}
