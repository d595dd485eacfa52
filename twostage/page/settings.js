// What Python has written into the page: the model's card, and rules that both share.

const settings = JSON.parse(document.getElementById("settings").textContent);

/** Why a photograph is not read; its message is shown as the reason. */
class Refusal extends Error {}

