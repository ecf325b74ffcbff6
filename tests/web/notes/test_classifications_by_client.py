from datetime import UTC, datetime, timedelta

import pytest
from skyportal_py import SkyPortalError
from skyportal_py.classifications import ClassificationPost, ClassificationUpdate
from skyportal_py.taxonomies import TaxonomyPost, TaxonomyPut

from firstlight.services.objects.taxonomies import checked_hierarchy, class_names, default_taxonomy

TREE = {"class": "Source", "subclasses": [{"class": "SN Ia"}, {"class": "RR, with a comma"}]}


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def taxonomy(client, version="1", **options):
    return client.post_taxonomy(
        TaxonomyPost(name="Ours", version=version, hierarchy=TREE, **options)
    ).taxonomy_id


def post(number, name="SN Ia", obj_id="SHARED", **options):
    return ClassificationPost(obj_id=obj_id, classification=name, taxonomy_id=number, **options)


def test_the_client_keeps_taxonomies(either):
    ada = either.client("ada")
    first, second = taxonomy(ada), taxonomy(ada, "2")
    assert [(each.version, each.is_latest) for each in ada.fetch_taxonomies()] == [
        ("1", False),
        ("2", True),
    ]
    ada.update_taxonomy(first, TaxonomyPut(is_latest=True, provenance="us"))
    assert ada.fetch_taxonomy(first).provenance == "us"
    assert not ada.fetch_taxonomy(second).is_latest
    assert status(taxonomy, ada) == 409
    assert status(ada.update_taxonomy, first, TaxonomyPut(version="2")) == 409
    ada.post_classification(post(first))
    assert status(ada.delete_taxonomy, first) == 409
    ada.delete_taxonomy(second)
    assert len(either.client().fetch_taxonomies()) == 1, "without groups it is everybody's"
    assert status(either.client("cy").delete_taxonomy, first) == 403


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        {"name": "x"},
        {"class": ""},
        {"class": 1},
        {"class": "x" * 129},
        {"class": "x\x00"},
        {"class": "x", "subclasses": {}},
        {"class": "x", "subclasses": ["y"]},
        {"class": "x", "children": []},
        {"class": "x", "other names": "y"},
    ],
)
def test_trees_of_another_form_are_refused(world, tree):
    body = {"name": "n", "version": "1", "hierarchy": tree, "isLatest": True}
    assert world.client("ada").post("/api/taxonomy", json=body).status_code == 400


def test_a_tree_may_come_as_text(world):
    ada = world.client("ada")
    post = TaxonomyPost(name="n", version="1", hierarchy_file='{"class": "x"}')
    assert ada.fetch_taxonomy(ada.post_taxonomy(post).taxonomy_id).hierarchy == {"class": "x"}
    for text in ("{", "[" * 100_000, "null"):
        bad = TaxonomyPost(name="n", version="2", hierarchy_file=text)
        assert status(ada.post_taxonomy, bad) == 400


def test_the_default_taxonomy_is_added_where_there_is_none(world):
    facts = default_taxonomy()
    names = list(class_names(checked_hierarchy(facts["hierarchy"])))
    assert len(names) == len(set(names)), "a class has one place"
    service, ada = world.services.taxonomies, world.viewers["ada"]
    (added,) = service.for_classifying(ada)
    assert added["hierarchy"] == facts["hierarchy"]
    assert service.for_classifying(ada) == [added]


def test_the_client_classifies(either):
    ada, bob = either.client("ada"), either.client("bob")
    tree = taxonomy(ada)
    number = ada.post_classification(post(tree, probability=0.9)).classification_id
    (found,) = bob.fetch_classifications("SHARED")
    assert (found.classification, found.probability, found.ml) == ("SN Ia", 0.9, False)
    assert [(vote.voter_id, vote.vote) for vote in found.votes] == [(found.author_id, 1)]
    bob.post_classification_vote(number, -1)
    bob.post_classification_vote(number, 1)
    assert sorted(vote.vote for vote in bob.fetch_classifications("SHARED")[0].votes) == [1, 1]
    bob.delete_classification_vote(number)
    bob.delete_classification_vote(number)
    ada.update_classification(number, ClassificationUpdate(probability=0.8))
    one = ada.fetch_classification(number, include_taxonomy=True)
    assert (one.probability, one.taxonomy.hierarchy) == (0.8, TREE)
    ((edit,),) = (one.edits,)
    assert (edit.old_probability, edit.new_probability, edit.editor_name) == (0.9, 0.8, "ada")
    more = ada.post_classifications(
        [post(tree, "RR, with a comma", vote=False), post(tree, obj_id="PUBLIC", ml=True)]
    ).classification_ids
    page = ada.fetch_classifications_query(num_per_page=2, page_number=2)
    assert (page.total_matches, [each.id for each in page.classifications]) == (3, more[1:])
    assert ada.fetch_sources_by_classification() == ["PUBLIC", "SHARED"]
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert ada.fetch_sources_by_classification(start_date=later) == []
    ada.delete_classification(number)
    ada.delete_source_classifications("SHARED")
    ada.delete_source_classifications("SHARED", label=True)
    assert ada.fetch_classifications("SHARED") == []
    assert {what for what, _, _ in either.events()} == {"classification"}


def test_all_classes_are_given_or_none(either):
    ada = either.client("ada")
    tree = taxonomy(ada)
    for bad in (
        post(tree, "SN II"),
        post(tree, probability=1.01),
        post(tree, probability=-0.01),
        post(tree, origin="a\x00"),
        post(tree, group_ids=[either.groups["B"]]),
    ):
        assert status(ada.post_classifications, [post(tree), bad]) == 400
    for missing in (post(tree, obj_id="NONE"), post(tree + 1), post(10**20), post(-1)):
        assert status(ada.post_classifications, [post(tree), missing]) == 404
    assert ada.fetch_classifications("SHARED") == []
    assert either.events() == []


def test_whose_classes_are_whose(world):
    ada, bob, cy = map(world.client, ("ada", "bob", "cy"))
    tree = taxonomy(ada)
    number = ada.post_classification(post(tree, group_ids=[world.groups["A"]])).classification_id
    hidden = ada.post_classification(post(tree, obj_id="OF_A")).classification_id
    assert bob.fetch_classifications("SHARED") == []
    assert bob.fetch_classifications_query().total_matches == 0
    assert bob.fetch_sources_by_classification() == []
    assert len(cy.fetch_classifications("SHARED")) == 1
    for call in (bob.fetch_classification, bob.delete_classification):
        assert [status(call, each) for each in (number, hidden)] == [404, 404]
    assert status(bob.post_classification_vote, hidden, 1) == 404
    assert status(cy.post_classification, post(tree)) == 403
    assert status(cy.post_classification_vote, number, 1) == 403
    assert status(ada.post_classification_vote, number, 7) == 400
    open_one = ada.post_classification(post(tree)).classification_id
    assert status(bob.update_classification, open_one, ClassificationUpdate(probability=1)) == 403
    bob.delete_source_classifications("SHARED")
    assert len(ada.fetch_classifications("SHARED")) == 2, "others' stay"
    world.client("root").delete_source_classifications("SHARED")
    assert ada.fetch_classifications("SHARED") == []


def test_odd_queries_get_an_answer(either):
    ada = either.client("ada")
    for query in ("startDate=x", "endDate=%00", "pageNumber=0", "numPerPage=-1", "startDate=0"):
        assert ada.get(f"/api/classification?{query}").status_code == 400, query
    for query in ("startDate=0001-01-01", "endDate=9999-12-31T23:59:59-12:00", "startDate="):
        assert ada.get(f"/api/classification?{query}").status_code in {200, 400}, query


def test_a_tree_of_others_is_not_told(world):
    ada, bob = world.client("ada"), world.client("bob")
    tree = taxonomy(ada, group_ids=[world.groups["A"]])
    number = ada.post_classification(post(tree)).classification_id
    assert ada.fetch_classification(number, include_taxonomy=True).taxonomy.id == tree
    assert bob.fetch_classification(number, include_taxonomy=True).taxonomy is None
    assert bob.fetch_taxonomies() == []
    assert status(bob.fetch_taxonomy, tree) == 404
    assert status(bob.post_classification, post(tree)) == 404
