// A reader that asks the server from which the page comes.

let token = new URLSearchParams(location.hash.slice(1)).get("token") || "";

/** Ask for the token, once for all photographs that wait for it. */
let asking = null;
function askedToken() {
  const form = document.getElementById("token");
  asking ??= new Promise((resolve) => {
    form.hidden = false;
    form.querySelector("input").focus();
    form.onsubmit = (event) => {
      event.preventDefault();
      form.hidden = true;
      token = form.querySelector("input").value.trim();
      asking = null;
      resolve();
    };
  });
  return asking;
}

/** What the server says of a mistake, in a sentence. */
async function detailOf(answer) {
  try {
    const { detail } = await answer.json();
    if (typeof detail === "string") return detail;
  } catch {
    // no JSON: the status has to do
  }
  return `the server answered ${answer.status} ${answer.statusText}`.trim();
}

async function readByServer(file) {
  const body = new FormData(), sent = token;
  body.append("files", file, file.name);
  const headers = sent ? { Authorization: `Bearer ${sent}` } : {};
  const answer = await fetch("predict?pictures=true", { method: "POST", body, headers }).catch(() => {
    throw new Refusal("the server does not answer; is it running, and is this device in its network?");
  });
  if (answer.status === 401) {
    if (sent === token) await askedToken();
    return readByServer(file);
  }
  if (!answer.ok) throw new Refusal(await detailOf(answer));
  const { rows } = await answer.json();
  return { ...rows[0], image: file.name };
}

const openReader = async () => ({ read: readByServer, atOnce: 4 });

const NEEDED = ["fetch"];
