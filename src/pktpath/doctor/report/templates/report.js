"use strict";
// No less-than sign and no ampersand: the page is XML too.
(function () {
  function copied(button) {
    button.textContent = "copied";
    setTimeout(function () { button.textContent = "copy"; }, 1500);
  }
  function select(node) {
    var range = document.createRange();
    range.selectNodeContents(node);
    var selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }
  document.querySelectorAll("button.copy").forEach(function (button) {
    var code = button.parentNode.querySelector("pre");
    button.hidden = false;
    button.addEventListener("click", function () {
      select(code);
      if (navigator.clipboard) {
        navigator.clipboard.writeText(code.textContent).then(function () { copied(button); }, function () { });
      }
    });
  });

  document.querySelectorAll("svg.flame").forEach(function (graph) {
    var told = document.getElementById("flame-told"), back = document.getElementById("flame-back");
    var boxes = Array.from(graph.querySelectorAll("svg.box")).map(function (node) {
      return {
        node: node, text: node.querySelector("text"), name: node.getAttribute("data-name"), title: node.querySelector("title").textContent,
        x: Number(node.getAttribute("data-x")), w: Number(node.getAttribute("data-w")), y: Number(node.getAttribute("y"))
      };
    });
    var left = 0, width = 1;
    function draw() {
      var pixels = graph.getBoundingClientRect().width;
      boxes.forEach(function (box) {
        var from = Math.max((box.x - left) / width, 0), to = Math.min((box.x + box.w - left) / width, 1);
        var shown = to - from > 0.0003;
        box.node.setAttribute("display", shown ? "inline" : "none");
        if (shown) {
          box.node.setAttribute("x", 100 * from + "%");
          box.node.setAttribute("width", 100 * (to - from) + "%");
          var letters = Math.floor(((to - from) * pixels - 7) / 6.63);
          box.text.textContent = letters > box.name.length - 1 ? box.name : letters > 2 ? box.name.slice(0, letters - 1) + "…" : "";
        }
      });
    }
    function fill(box) {
      left = box.x;
      width = box.w;
      told.textContent = box.title;
      told.parentNode.hidden = false;
      back.hidden = box.w > 0.999999;
      draw();
    }
    boxes.forEach(function (box) {
      box.node.addEventListener("click", function () { fill(box); });
    });
    back.addEventListener("click", function () { fill(boxes[0]); });
    addEventListener("resize", draw);
    draw();
  });

  var folded = [];
  addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("details:not([open])"));
    folded.forEach(function (node) { node.open = true; });
  });
  addEventListener("afterprint", function () {
    folded.forEach(function (node) { node.open = false; });
  });
})();
