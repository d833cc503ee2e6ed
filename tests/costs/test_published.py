"""The reference tables read, say where each figure comes from, and agree with themselves and each other."""

import subprocess
import sys

import pytest

from inception_lab.costs import published

TABLES = ["claims", "networks", "parameter_counts", "quotes", "table1", "table2", "table3"]
PATHS = ["one", "three", "five", "pool_proj"]


def test_every_file_is_known():
    assert published.names() == TABLES


@pytest.mark.parametrize("name", TABLES)
def test_every_row_names_its_source(name):
    sources = published.table(name)["source"]
    assert len(sources) > 5
    assert sources.str.contains(
        r"arXiv:\d{4}\.\d{4,5}|NIPS 25|CVPR 2015|^[\w.-]+/[\w.-]+ \S|^gist \S|^[\w.-]+\.io/\S"
    ).all()


@pytest.mark.parametrize("name", TABLES)
def test_no_fact_stands_twice(name):
    table = published.table(name)
    assert not table.astype(str).duplicated().any()


# ------------------------------------------------------------------------------------ the paper's tables


def test_table_1_has_the_rows_of_the_paper_in_order():
    table = published.table("table1")
    modules = [f"inception_{n}" for n in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]]
    start, end = ["conv1", "pool1", "conv2", "pool2"], ["avg_pool", "dropout", "linear", "softmax"]
    assert list(table.stage) == [*start, *modules[:2], "pool3", *modules[2:7], "pool4", *modules[7:], *end]


def test_the_four_paths_of_a_module_add_up_to_its_printed_output():
    modules = published.table("table1").dropna(subset=PATHS)
    assert len(modules) == 9
    assert (modules[PATHS].sum(axis=1) == modules.output_channels).all()


def test_depth_is_22_and_27_with_the_pools():
    table = published.table("table1")
    pools = table.type.str.endswith("pool").sum()
    assert (table.depth.sum(), table.depth.sum() + pools) == (22, 27)


def test_printed_parameters_add_up_to_the_quoted_sum():
    printed = published.table("table1").params
    total = sum(float(text.removesuffix("K")) for text in printed if text)
    counts = published.table("parameter_counts").set_index("quoted_as")["count"]
    assert round(1000 * total) == counts["6.8M"]


def test_printed_operations_add_up_to_the_budget():
    printed = published.table("table1").ops
    total = sum(int(text.removesuffix("M")) for text in printed if text)
    budget = published.table("quotes").set_index("id").number["budget"]
    assert round(total / 1000, 1) * 1e9 == budget


def test_cost_is_models_times_crops():
    table = published.table("table3")
    assert (table.models * table.crops == table.cost).all()


def test_gains_over_the_base_are_differences_except_the_last_which_is_printed_wrong():
    """The paper prints -3.45 where 6.67 - 10.07 is -3.40; the other four hold."""
    table = published.table("table3")
    difference = (table.top5_error_percent - table.top5_error_percent[0]).round(2)
    assert list(difference[1:5]) == list(table.compared_to_base_points[1:5])
    assert (difference[5], table.compared_to_base_points[5]) == (-3.40, -3.45)


def test_tables_2_and_3_and_networks_give_the_same_winning_error():
    winner = published.table("table2").set_index("team").top5_error_percent["GoogLeNet"]
    assert published.table("table3").top5_error_percent.min() == winner
    networks = published.table("networks").query("name == 'googlenet' and models == 7 and crops == 144")
    assert list(networks.top5_error_percent) == [winner, winner]
    assert set(networks.evaluated_on) == {"val", "test"}


def test_networks_repeats_table_3():
    columns = ["models", "crops", "top5_error_percent"]
    ours = published.table("networks").query("name == 'googlenet' and evaluated_on == 'val'")
    paper = published.table("table3")
    assert len(ours.merge(paper, on=columns)) == len(paper) == 6


# ------------------------------------------------------------------------------------ counts and quotes


def test_quoted_counts_differ_by_what_they_say():
    counts = published.table("parameter_counts").set_index("quoted_as")["count"]
    heads, linear = counts["6,379,728"], 1024 * 1000 + 1000
    assert counts["13,378,280"] - counts["6,998,552"] == heads
    assert counts["6,998,552"] - counts["5,973,552"] == linear
    assert counts["5,983,802"] - counts["5,973,552"] == 1024 * 10 + 10
    assert counts["5,983,802"] - counts["5,977,530"] == 2 * 7 * 7 * 64  # two input channels fewer
    # torchvision: 3×3 kernels in nine 5×5 paths, and a scale more than a bias for each convolution's channels
    modules = published.table("table1").dropna(subset=PATHS)
    kernels = int((modules.five_reduce * modules.five).sum()) * (25 - 9)
    channels = int(modules[[*PATHS, "three_reduce", "five_reduce"]].sum().sum()) + 64 + 64 + 192
    assert counts["6,998,552"] - kernels + channels == counts["6.6M"]


def test_every_count_with_a_builder_has_options_that_a_call_takes():
    table = published.table("parameter_counts")
    built = table[table.builder != ""]
    assert built.builder.str.startswith("googlenet").all() and len(built) == 15
    assert all(options and set(options) <= {"aux", "num_classes", "in_channels"} for options in built.options)
    assert all(options == {} for options in table[table.builder == ""].options)


def test_networks_cover_the_comparison():
    before = ["alexnet-2012", "alexnet", "zfnet", "nin", "vgg11", "vgg13", "vgg16", "vgg19", "googlenet"]
    after = ["inception-v2", "inception-v3", "inception-v4", "inception-resnet-v2", "xception", "nasnet-a"]
    table = published.table("networks")
    assert list(table.name.unique()) == before + after
    assert table[["top1_error_percent", "top5_error_percent"]].notna().any(axis=1).all()
    both = table.dropna(subset=["top1_error_percent", "top5_error_percent"])
    assert (both.top5_error_percent < both.top1_error_percent).all()
    assert set(table.evaluated_on) == {"val", "test"}
    assert set(table.checked) == {"text", "code", "second hand"}


def test_a_network_is_described_alike_in_all_its_rows():
    columns = ["network", "year", "paper", "depth", "stated_parameters", "input_size_pixels"]
    table = published.table("networks")
    assert (table.groupby("name")[columns].nunique(dropna=False) == 1).all(axis=None)


def test_quotes_have_an_id_a_text_and_a_kind():
    table = published.table("quotes")
    assert table.id.is_unique and (table.quote.str.len() > 10).all()
    assert set(table.kind) == {"claim", "question", "reply"}
    assert (table.number.notna() == (table.unit != "")).all()
    threads = table[table.checked == "thread"].source
    assert threads.str.contains(r"^[\w.-]+/[\w.-]+ (?:issue|pull request) \d+$").all()


# ------------------------------------------------------------------------------------ broken tables


def write(folder, text, name="sample"):
    (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


GOOD = "name,count,top5_error_percent,options,source\na,1,2.5,aux=False,somewhere\n"


def test_a_table_of_ones_own_folder(tmp_path):
    table = published.table("sample", write(tmp_path, GOOD + 'b,,,"aux=True, num_classes=10","x, y"\n'))
    assert published.names(tmp_path) == ["sample"]
    assert table["count"][0] == 1 and table["count"].isna()[1] and table.top5_error_percent.isna()[1]
    assert list(table.options) == [{"aux": False}, {"aux": True, "num_classes": 10}]
    assert list(table.source) == ["somewhere", "x, y"]


@pytest.mark.parametrize(
    "row, complaint",
    [
        ("b,2,3.5,somewhere", "4 fields where the header has 5"),
        ("b,2,3.5,,somewhere,more", "6 fields where the header has 5"),
        ("", "0 fields where the header has 5"),
        ("b,2,3.5,,", "source is empty"),
        ("b,2,3.5,,  ", "source is empty"),
        ("b,2.7K,3.5,,somewhere", "count is '2.7K'"),
        ("b,2.0,3.5,,somewhere", "count is '2.0'"),
        ("b,2,3.5 %,,somewhere", "top5_error_percent is '3.5 %'"),
        ("b,2,3.5,aux,somewhere", "options is 'aux'"),
        ("b,2,3.5,aux=open(),somewhere", r"options is 'aux=open\(\)'"),
        ("b,2,3.5,aux=,somewhere", "options is 'aux='"),
        ('b,2,3.5,,"some"where', "expected after"),
    ],
)
def test_a_broken_row_names_file_and_line(tmp_path, row, complaint):
    folder = write(tmp_path, GOOD + row + "\nc,3,4.5,,somewhere\n")
    with pytest.raises(ValueError, match=rf"sample\.csv, line 3: .*{complaint}"):
        published.table("sample", folder)


@pytest.mark.parametrize("text", ["", "name,count\na,1\n", "name,name,source\na,b,c\n"])
def test_a_header_needs_a_source_and_no_column_twice(tmp_path, text):
    with pytest.raises(ValueError, match=r"sample\.csv, line 1: the header needs a column 'source'"):
        published.table("sample", write(tmp_path, text))


def test_an_unknown_table_offers_the_closest_first():
    with pytest.raises(ValueError, match=r"^name must be one of 'quotes', .*'table1'.*, got 'quote'$"):
        published.table("quote")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="folder must be a folder of CSV files, got .*nowhere"):
        published.names(tmp_path / "nowhere")


def test_importing_the_module_does_not_import_pandas():
    code = "import sys; import inception_lab.costs.published; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
