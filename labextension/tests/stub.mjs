/** JupyterLab's translations without a language: the texts themselves, their `%1` filled in. */

function fill(text, values) {
  return text.replace(/%(\d)/g, (_, place) => String(values[Number(place) - 1]));
}

export const words = {
  __: (text, ...values) => fill(text, values),
  _n: (one, many, count, ...values) => fill(count === 1 ? one : many, [count, ...values])
};
