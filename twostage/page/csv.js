// The readings as a table of text, as pandas writes predictions.csv.

const COLUMNS = [
  "image", "concentration", "lower", "upper", "bin_index", "bin_low", "bin_high", "bin_probability", "status", "reason",
];
const WHOLE = new Set(["bin_index"]);

/** A broken number as Python writes it. */
function numberText(x) {
  const [digits, exponent] = x.toExponential().split("e"), power = Number(exponent);
  if (x !== 0 && (power < -4 || power >= 16)) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return Number.isInteger(x) ? `${x}.0` : String(x); // both write the shortest digits that give the number back
}

function cellText(column, value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return WHOLE.has(column) ? String(value) : numberText(value);
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

function csvOf(rows) {
  const lines = rows.map((row) => COLUMNS.map((column) => cellText(column, row[column])).join(","));
  return [COLUMNS.join(","), ...lines, ""].join("\n");
}
